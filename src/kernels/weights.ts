import { GROUPED } from "../weights/quant/grouped.ts";
import { isDense, type ResidentLayout } from "../weights/quant/layout.ts";
import blocksBf16 from "../../shaders/fragments/blocks_bf16.wgsl?raw";
import blocksF16 from "../../shaders/fragments/blocks_f16.wgsl?raw";
import blocksF32 from "../../shaders/fragments/blocks_f32.wgsl?raw";
import blocksGrouped from "../../shaders/fragments/blocks_grouped.wgsl?raw";
import weightsBf16 from "../../shaders/fragments/weights_bf16.wgsl?raw";
import weightsF16 from "../../shaders/fragments/weights_f16.wgsl?raw";
import weightsF32 from "../../shaders/fragments/weights_f32.wgsl?raw";
import weightsGrouped from "../../shaders/fragments/weights_grouped.wgsl?raw";

const WORDS = { f32: weightsF32, f16: weightsF16, bf16: weightsBf16 };
const BLOCKS = { f32: blocksF32, f16: blocksF16, bf16: blocksBf16 };

/**
 * The fragment that reads a layout from `weights: array<u32>`: `weight4(row, k4, rowWords) -> vec4f`, columns 4·k4 … of a
 * row. Needs `params.columns`, the matrix's columns.
 */
export function weightFragment(layout: ResidentLayout): string {
  return isDense(layout) ? WORDS[layout] : groupedConstants(layout) + weightsGrouped;
}

/**
 * The fragment that reads a layout from `weights: array<vec4u>`: the same `weight4`, and blocks of one vec4u for kernels
 * that unpack many columns at a time (`chunk`, `nextPart`, `blockScale`, `blockZero`; `BLOCK4` is `block4(layout)`).
 */
export function blockFragment(layout: ResidentLayout): string {
  return isDense(layout) ? BLOCKS[layout] : groupedConstants(layout) + blocksGrouped;
}

/** Fours of columns in a block, which is one vec4u. */
export function block4(layout: ResidentLayout): number {
  if (isDense(layout)) return layout === "f32" ? 1 : 2;
  return 32 / GROUPED[layout].bits;
}

/** Chunks (fours of columns) in a part of a block, as `nextPart` moves on: one word where it holds whole chunks. */
export function partChunks(layout: ResidentLayout): number {
  return isDense(layout) ? 1 : 8 / GROUPED[layout].bits;
}

function groupedConstants(layout: keyof typeof GROUPED): string {
  const { bits, group, zeros } = GROUPED[layout];
  return (
    `// ${layout}\nconst WEIGHT_BITS: u32 = ${bits}u;\nconst WEIGHT_GROUP: u32 = ${group}u;\n` +
    `const WEIGHT_ZEROS: bool = ${zeros};\n`
  );
}
