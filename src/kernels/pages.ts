import { invariant } from "../base/assert.ts";
import copyPageWgsl from "../../shaders/copy_page.wgsl?raw";
import type { CacheView, LatentView, LayerCache, Range } from "./batch.ts";
import type { Binding } from "./define.ts";
import type { Graph } from "./graph.ts";

/** How a kernel finds a row's place in the cache: `fragments/pages.wgsl` reads these. */
export const PAGED: readonly Binding[] = [
  { name: "rows", access: "read", type: "array<Row>" },
  { name: "states", access: "read", type: "array<State>" },
  { name: "pageTable", access: "read", type: "array<Page>" },
];

/** What binds them; `layer` tells which pool its pages are of. */
export function paged({ batch }: Graph, layer: Pick<LayerCache, "windowed"> = {}): Record<PagedName, Range> {
  return { rows: batch.rows, states: batch.state, pageTable: ofPool(layer, batch.pageTable, batch.windowTable) };
}

type PagedName = "rows" | "states" | "pageTable";

function ofPool({ windowed }: Pick<LayerCache, "windowed">, first: Range, second: Range | undefined): Range {
  if (!windowed) return first;
  invariant(second, "a windowed layer in a batch without a window table");
  return second;
}

const ELEMENTS_PER_WORD = { f32: 1, f16: 2, int8: 4 };

/** Words of one page: keys, values and scales, each with where its plane starts. */
interface PageWords extends Record<string, number> {
  keyWords: number;
  valueWords: number;
  valueStart: number;
  scaleWords: number;
  scaleStart: number;
}

function pageWords(cache: CacheView | LatentView, layer: Partial<LayerCache>): PageWords {
  const perWord = ELEMENTS_PER_WORD[cache.format];
  if (cache.kind === "latent") {
    const keyWords = (cache.pageSize * (cache.rank + cache.ropeDim)) / perWord;
    return { keyWords, valueWords: 0, valueStart: 0, scaleWords: 0, scaleStart: 0 };
  }
  const { pageSize, heads, headDim, valueDim = headDim, format } = cache;
  const { valueOffset = 0, scaleOffset = 0 } = layer;
  return {
    keyWords: (pageSize * heads * headDim) / perWord,
    valueWords: (pageSize * heads * valueDim) / perWord,
    valueStart: valueOffset / perWord,
    scaleWords: format === "int8" ? pageSize * heads : 0,
    scaleStart: scaleOffset,
  };
}

/** Copies the pages that the batch lists, in every layer: what a fork writes to next must be its own. */
export function copyPages(graph: Graph, cache: CacheView | LatentView): void {
  const { copies, windowCopies } = graph.batch;
  for (const layer of cache.layers) {
    const words = pageWords(cache, layer);
    graph.dispatch(
      {
        name: "copy_page",
        wgsl: copyPageWgsl,
        params: { keyWords: "u32", valueWords: "u32", valueStart: "u32", scaleWords: "u32", scaleStart: "u32" },
        bindings: [
          { name: "copies", access: "read", type: "array<vec2u>" },
          { name: "pool", access: "read_write", type: "array<u32>" },
        ],
      },
      words,
      { copies: ofPool("windowed" in layer ? layer : {}, copies, windowCopies), pool: layer.pool },
      [Math.ceil((words.keyWords + words.valueWords + words.scaleWords) / 64), graph.batch.limits.slots],
    );
  }
}
