import type { Tuning } from "../kernels/tuning.ts";
import type { CheckpointOptions } from "./inspect.ts";
import type { LoadProgress } from "./port.ts";

export interface LoadOptions extends CheckpointOptions {
  /** GPU memory this engine may take. The cache shrinks to fit; less than one context of it is an error. */
  memoryBytes?: number;
  /** The same request gives the same bits in any company: one matmul path, no 8-bit activations. Slower prompts. */
  deterministic?: boolean;
  /**
   * Measure a few variants of the main kernels on this GPU, for about 300 ms, and keep what is quickest for later loads;
   * default false. Never on software devices, and not together with `deterministic`.
   */
  tune?: boolean;
  /** Told of the load, and of each time that a lost device is replaced (`recovering`), which may be long after it. */
  onProgress?: (progress: LoadProgress) => void;
  /** Run on this device; it is not destroyed with the engine, nor replaced when it is lost. */
  device?: GPUDevice;
}

/** Knobs of the engine that change speed and memory, never results: what tests turn. */
export interface EngineTuning {
  /** Tokens a page holds: a power of two ≥ 32. */
  pageSize?: number;
  /** Shuffles the order in which pages are given. */
  pageSeed?: number;
  /** Rows of one step. */
  maxRows?: number;
  /** Sequences at a time. */
  slots?: number;
  /** Steps under way. */
  lookAhead?: number;
  /** Bytes of one part of a matrix, to split those that would fit a binding. */
  maxBindingBytes?: number;
  /** Tokens that the pool holds. */
  poolTokens?: number;
  /** Variants of the kernels other than the device's own. */
  kernels?: Partial<Tuning>;
}
