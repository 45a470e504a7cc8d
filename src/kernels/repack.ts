import { denseRowWords, type DenseFormat } from "../weights/quant/dense.ts";
import repackWgsl from "../../shaders/repack.wgsl?raw";
import type { Range } from "./batch.ts";
import type { KernelSource } from "./define.ts";

const CODE: Record<DenseFormat, number> = { f32: 0, f16: 1, bf16: 2 };

/** Where a chunk of whole rows goes. */
export interface RepackTarget {
  readonly weights: Range;
  readonly format: DenseFormat;
  readonly columns: number;
  /** Row of the target that the chunk's first row becomes, and the distance from one to the next. */
  readonly firstRow: number;
  readonly rowStep: number;
}

/** The kernel that turns published values `from` into the resident format `to`. */
export function repackSource(from: DenseFormat, to: DenseFormat): KernelSource {
  return {
    name: `repack ${from} to ${to}`,
    wgsl: repackWgsl,
    params: { columns: "u32", rows: "u32", rowWords: "u32", firstRow: "u32", rowStep: "u32" },
    constants: { FROM: CODE[from], TO: CODE[to] },
    bindings: [
      { name: "staging", access: "read", type: "array<u32>" },
      { name: "weights", access: "read_write", type: "array<u32>" },
    ],
  };
}

export function repackParams(target: RepackTarget, rows: number): Record<string, number> {
  const { columns, firstRow, rowStep, format } = target;
  return { columns, rows, rowWords: denseRowWords(format, columns), firstRow, rowStep };
}

export function repackGrid(target: RepackTarget, rows: number): [number, number, number] {
  const y = Math.min(rows, 65535);
  return [Math.ceil(denseRowWords(target.format, target.columns) / 64), y, Math.ceil(rows / y)];
}
