import type { ResidentLayout } from "../weights/quant/layout.ts";
import type { Range } from "./batch.ts";

/** One buffer of a matrix: its rows [rowStart, rowStart + rowCount). A matrix past one binding's size has several. */
export interface LinearPart {
  readonly weights: Range;
  readonly rowStart: number;
  readonly rowCount: number;
}

/**
 * The handle of a linear layer, [outFeatures, inFeatures]: what models hold and kernels read. Frozen.
 * `lora` is the slot of adapters: a row with adapter id a adds B_a · A_a · x; empty until adapters are loaded.
 */
export interface Linear {
  readonly name: string;
  /** A multiple of 4. */
  readonly inFeatures: number;
  readonly outFeatures: number;
  readonly layout: ResidentLayout;
  readonly parts: readonly LinearPart[];
  /** [outFeatures] f32. */
  readonly bias?: Range;
  lora?: readonly { readonly a: Linear; readonly b: Linear; readonly scale: number }[];
}

/** An RMSNorm (Zhang & Sennrich 2019): gain [width] f32 in memory, plus `offset` (Gemma's 1 + w has 1; default 0). */
export interface RmsNorm {
  readonly gain: Range;
  readonly eps: number;
  readonly offset?: number;
}
