import { bf16ToNumber, f16ToNumber, numberToBf16, numberToF16 } from "../../src/base/half.ts";
import type { DenseFormat } from "../../src/weights/quant/dense.ts";
import { dequantiseRow, quantiseRow } from "../../src/weights/quant/grouped.ts";
import { isDense, rowWords, type ResidentLayout } from "../../src/weights/quant/layout.ts";

/** A value as it comes back from storage in a format. */
export function rounded(x: number, format: DenseFormat): number {
  if (format === "f32") return Math.fround(x);
  return format === "f16" ? f16ToNumber(numberToF16(x)) : bf16ToNumber(numberToBf16(x));
}

/** The 16 bits of a value in a 16-bit format. */
export function narrow(x: number, format: "f16" | "bf16"): number {
  return format === "f16" ? numberToF16(x) : numberToBf16(x);
}

/** Values one after another as the words of memory, without padding of rows: f32 a word each, else two to a word. */
export function packed(values: ArrayLike<number>, format: DenseFormat): Uint32Array<ArrayBuffer> {
  if (format === "f32") return new Uint32Array(Float32Array.from(values).buffer);
  const halves = new Uint16Array(Math.ceil(values.length / 2) * 2);
  for (let i = 0; i < values.length; i++) halves[i] = narrow(values[i]!, format);
  return new Uint32Array(halves.buffer);
}

/** A matrix [rows, columns] in a resident layout: its words, and the values that they stand for. */
export function stored(
  values: ArrayLike<number>,
  columns: number,
  layout: ResidentLayout,
): { words: Uint32Array<ArrayBuffer>; values: Float64Array } {
  const rows = values.length / columns;
  const words = new Uint32Array(rows * rowWords(layout, columns));
  const read = new Float64Array(values.length);
  for (let r = 0; r < rows; r++) {
    const row = Float32Array.from({ length: columns }, (_, k) => values[r * columns + k]!);
    const own = isDense(layout) ? packed(row, layout) : quantiseRow(layout, row);
    words.set(own, r * rowWords(layout, columns));
    read.set(isDense(layout) ? row.map((v) => rounded(v, layout)) : dequantiseRow(layout, own, columns), r * columns);
  }
  return { words, values: read };
}
