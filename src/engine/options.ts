import type { Tuning } from "../kernels/tuning.ts";
import type { KvFormat, LoadProgress, WeightFormat } from "./port.ts";

/** What is asked of a checkpoint's files, with or without a GPU. */
export interface CheckpointOptions {
  /**
   * Resident format of the weights; default "published": as they are in the files. q8 and q4 are made while loading, 32 weights to
   * a scale: norms, biases and routers stay f32, embeddings, positions and head keep more bits (as published, or q8 for q4).
   * "auto" takes the most bits that there is room for, as published, q8 or q4, and `ModelInfo.weights.reason` says why; nothing of
   * it depends on shader-f16, since 16-bit weights are stored and read alike without.
   */
  weights?: "published" | "auto" | WeightFormat;
  /** Format of the cache; default f32 for f32 weights, else f16. */
  kv?: KvFormat;
  /** Tokens of prompt and answer that one sequence may hold; default what the checkpoint was made for, at most 4096. */
  contextTokens?: number;
  /**
   * GPU memory this engine may take. The cache shrinks to fit; less than one context of it is an error. Without it, "auto" goes
   * by the adapter's largest buffer, the one word on memory that WebGPU has.
   */
  memoryBytes?: number;
  /** Of a Hub id: branch, tag or commit; default "main". */
  revision?: string;
  /** Another Hub than Hugging Face's. */
  endpoint?: string;
  fetch?: typeof fetch;
  signal?: AbortSignal;
}

export interface LoadOptions extends CheckpointOptions {
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
