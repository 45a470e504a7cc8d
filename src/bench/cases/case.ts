import type { Scene } from "../../engine/rehearsal.ts";
import type { Range } from "../../kernels/batch.ts";
import type { Pattern } from "../../kernels/fill.ts";
import type { Graph, Tensor } from "../../kernels/graph.ts";
import type { Work } from "../roofline.ts";

/** One kernel at one shape. `bytes` is the compulsory traffic: every input read once, every output written once. */
export interface KernelCase extends Work {
  /** "linear/llama-3.2-1b/gate_up/q4/m1": what a filter is matched with, and what two reports are joined by. */
  readonly name: string;
  readonly scene: Scene;
  /** Bytes of weights or cache that one run reads, taken from another place of the pool each time; 0 for none. */
  readonly setBytes: number;
  readonly pattern: Pattern;
  /** Bytes of random f32 beside it: gains, rotary tables. */
  readonly tableBytes?: number;
  /** Draws the kernel over a set; returns what it computes. */
  draw(graph: Graph, set: Range, table: Range): Tensor;
}

/** A part of a range, counted in bytes. */
export function slice({ buffer, offset }: Range, at: number, size: number): Range {
  return { buffer, offset: offset + at, size };
}

/** M sequences with a row each: what decoding is. */
export function decoding(rows: number, length: number): Pick<Scene, "segments"> {
  return { segments: Array.from({ length: rows }, () => ({ rows: 1, length })) };
}
