import copyPageWgsl from "../../shaders/copy_page.wgsl?raw";
import type { CacheView, Range } from "./batch.ts";
import type { Binding } from "./define.ts";
import type { Graph } from "./graph.ts";

/** How a kernel finds a row's place in the cache: `fragments/pages.wgsl` reads these. */
export const PAGED: readonly Binding[] = [
  { name: "rows", access: "read", type: "array<Row>" },
  { name: "states", access: "read", type: "array<State>" },
  { name: "pageTable", access: "read", type: "array<Page>" },
];

export function paged({ batch }: Graph): Record<"rows" | "states" | "pageTable", Range> {
  return { rows: batch.rows, states: batch.state, pageTable: batch.pageTable };
}

/** Copies the pages that the batch lists, in every layer: what a fork writes to next must be its own. */
export function copyPages(graph: Graph, cache: CacheView): void {
  const words = (cache.pageSize * cache.heads * cache.headDim) / (cache.format === "f32" ? 1 : 2);
  for (const { pool, valueOffset } of cache.layers) {
    graph.dispatch(
      {
        name: "copy_page",
        wgsl: copyPageWgsl,
        params: { pageWords: "u32", valueOffset: "u32" },
        bindings: [
          { name: "copies", access: "read", type: "array<vec2u>" },
          { name: "pool", access: "read_write", type: "array<u32>" },
        ],
      },
      { pageWords: words, valueOffset: cache.format === "f32" ? valueOffset : valueOffset / 2 },
      { copies: graph.batch.copies, pool },
      [Math.ceil(words / 64), graph.batch.limits.slots],
    );
  }
}
