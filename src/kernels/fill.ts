import randomWgsl from "../../shaders/fragments/random.wgsl?raw";
import fillWgsl from "../../shaders/fill.wgsl?raw";
import type { Range } from "./batch.ts";
import type { Graph } from "./graph.ts";

/** What random words shall be read as: which of their bits are random (`keep`), and what the others are (`fixed`). */
export interface Pattern {
  readonly keep: number;
  readonly fixed: number;
}

/** Numbers of either sign and magnitudes from 2⁻⁷ to 2⁻⁶, by format. Integers of quantised layouts take "f16", as their scales do. */
export const PATTERNS = {
  f32: { keep: 0x807fffff, fixed: 0x3c000000 },
  f16: { keep: 0x83ff83ff, fixed: 0x20002000 },
  bf16: { keep: 0x807f807f, fixed: 0x3c003c00 },
} as const satisfies Record<string, Pattern>;

/** Fills a range with repeatable random words. Its size is a multiple of 16 bytes. One dispatch. */
export function fill(graph: Graph, range: Range, { keep, fixed }: Pattern, seed = 1): void {
  const count = Math.floor(range.size / 16);
  graph.dispatch(
    {
      name: "fill",
      wgsl: fillWgsl,
      fragments: [randomWgsl],
      params: { count: "u32", keep: "u32", fixed: "u32", seed: "u32" },
      bindings: [{ name: "words", access: "read_write", type: "array<vec4u>" }],
    },
    { count, keep, fixed, seed },
    { words: range },
    fold(Math.ceil(count / 256)),
  );
}

/** A grid of that many workgroups, folded into two dimensions where one has no room: a few may be too many. */
export function fold(groups: number): readonly [x: number, y: number] {
  const y = Math.ceil(groups / 32768);
  return [Math.ceil(groups / y), y];
}
