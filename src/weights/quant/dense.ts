import { roundUp } from "../../base/assert.ts";

/**
 * The resident layouts of weights that keep their numbers: f32, f16, bf16. A matrix [rows, columns] lies row-major as
 * 32-bit words; 16-bit formats pack two values a word, the lower half first. Each row starts at a multiple of 16 bytes
 * and is padded with zeros.
 */
export type DenseFormat = "f32" | "f16" | "bf16";

export const DENSE_FORMATS: readonly DenseFormat[] = ["f32", "f16", "bf16"];

/** Words from one row to the next. */
export function denseRowWords(format: DenseFormat, columns: number): number {
  return format === "f32" ? roundUp(columns, 4) : roundUp(columns, 8) / 2;
}
