import type { DenseFormat } from "../weights/quant/dense.ts";
import { GROUPED, type GroupedFormat } from "../weights/quant/grouped.ts";
import { isDense, rowWords, type ResidentLayout } from "../weights/quant/layout.ts";
import searchedWgsl from "../../shaders/fragments/searched_scale.wgsl?raw";
import stagedWgsl from "../../shaders/fragments/staged.wgsl?raw";
import quantiseWgsl from "../../shaders/quantise.wgsl?raw";
import repackWgsl from "../../shaders/repack.wgsl?raw";
import type { Range } from "./batch.ts";
import type { KernelSource } from "./define.ts";

const CODE: Record<DenseFormat, number> = { f32: 0, f16: 1, bf16: 2 };

/** Where a chunk of whole rows goes. */
export interface RepackTarget {
  readonly weights: Range;
  readonly layout: ResidentLayout;
  readonly columns: number;
  /** Row of the target that the chunk's first row becomes, and the distance from one to the next. */
  readonly firstRow: number;
  readonly rowStep: number;
}

/** The kernel that turns published values `from` into the resident layout `to`. */
export function repackSource(from: DenseFormat, to: ResidentLayout): KernelSource {
  return {
    ...(isDense(to)
      ? { name: `repack ${from} to ${to}`, wgsl: repackWgsl, constants: { FROM: CODE[from], TO: CODE[to] } }
      : { name: `quantise ${from} to ${to}`, wgsl: quantiseWgsl, constants: { FROM: CODE[from], ...constantsOf(to) } }),
    fragments: isDense(to) ? [stagedWgsl] : [stagedWgsl, searchedWgsl],
    params: { columns: "u32", rows: "u32", rowWords: "u32", firstRow: "u32", rowStep: "u32" },
    bindings: [
      { name: "staging", access: "read", type: "array<u32>" },
      { name: "weights", access: "read_write", type: "array<u32>" },
    ],
  };
}

function constantsOf(format: GroupedFormat): Record<string, number | boolean> {
  const { bits, group, zeros } = GROUPED[format];
  return { BITS: bits, GROUP: group, ZEROS: zeros };
}

export function repackParams(target: RepackTarget, rows: number): Record<string, number> {
  const { columns, firstRow, rowStep, layout } = target;
  return { columns, rows, rowWords: rowWords(layout, columns), firstRow, rowStep };
}

export function repackGrid(target: RepackTarget, rows: number): [number, number, number] {
  const y = Math.min(rows, 65535);
  return [Math.ceil(lanesOf(target) / 64), y, Math.ceil(rows / y)];
}

/** Lanes for one row: one for each word of a dense row, for two groups of a quantised one, for four with zero points. */
function lanesOf({ layout, columns }: RepackTarget): number {
  if (isDense(layout)) return rowWords(layout, columns);
  const { group, zeros } = GROUPED[layout];
  return Math.ceil(columns / (group * (zeros ? 4 : 2)));
}
