import type { DenseFormat } from "../weights/quant/dense.ts";
import { GROUP } from "../weights/quant/grouped.ts";
import { isDense, rowWords, type WeightLayout } from "../weights/quant/layout.ts";
import stagedWgsl from "../../shaders/fragments/staged.wgsl?raw";
import quantiseWgsl from "../../shaders/quantise.wgsl?raw";
import repackWgsl from "../../shaders/repack.wgsl?raw";
import type { Range } from "./batch.ts";
import type { KernelSource } from "./define.ts";

const CODE: Record<DenseFormat, number> = { f32: 0, f16: 1, bf16: 2 };

/** Where a chunk of whole rows goes. */
export interface RepackTarget {
  readonly weights: Range;
  readonly layout: WeightLayout;
  readonly columns: number;
  /** Row of the target that the chunk's first row becomes, and the distance from one to the next. */
  readonly firstRow: number;
  readonly rowStep: number;
}

/** The kernel that turns published values `from` into the resident layout `to`. */
export function repackSource(from: DenseFormat, to: WeightLayout): KernelSource {
  return {
    ...(isDense(to)
      ? { name: `repack ${from} to ${to}`, wgsl: repackWgsl, constants: { FROM: CODE[from], TO: CODE[to] } }
      : {
          name: `quantise ${from} to ${to}`,
          wgsl: quantiseWgsl,
          constants: { FROM: CODE[from], BITS: to === "q8" ? 8 : 4 },
        }),
    fragments: [stagedWgsl, ...(isDense(to) ? [] : [`const LARGEST: f32 = ${to === "q8" ? "127.0" : "7.0"};`])],
    params: { columns: "u32", rows: "u32", rowWords: "u32", firstRow: "u32", rowStep: "u32" },
    bindings: [
      { name: "staging", access: "read", type: "array<u32>" },
      { name: "weights", access: "read_write", type: "array<u32>" },
    ],
  };
}

export function repackParams(target: RepackTarget, rows: number): Record<string, number> {
  const { columns, firstRow, rowStep, layout } = target;
  return { columns, rows, rowWords: rowWords(layout, columns), firstRow, rowStep };
}

export function repackGrid(target: RepackTarget, rows: number): [number, number, number] {
  const y = Math.min(rows, 65535);
  // A lane makes one word of a dense row, or two groups of a quantised one.
  const lanes = isDense(target.layout)
    ? rowWords(target.layout, target.columns)
    : Math.ceil(target.columns / (2 * GROUP));
  return [Math.ceil(lanes / 64), y, Math.ceil(rows / y)];
}
