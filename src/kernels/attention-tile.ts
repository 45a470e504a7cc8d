import { invariant } from "../base/assert.ts";
import tileF16 from "../../shaders/fragments/cache_tile_f16.wgsl?raw";
import tileF32 from "../../shaders/fragments/cache_tile_f32.wgsl?raw";
import tilePagesWgsl from "../../shaders/fragments/tile_pages.wgsl?raw";
import tileWgsl from "../../shaders/attention_tile.wgsl?raw";
import { bound, declare, declareScores, OUT, paramsOf, type AttentionCall } from "./attention-call.ts";
import type { Range } from "./batch.ts";
import type { Binding } from "./define.ts";
import type { Tensor } from "./graph.ts";

/** Elements of the values that one workgroup sums, in registers. */
const VALUE_CHUNK = 256;

/** Where tiles come from, if not from pages of keys and values: what takes the place of fragments/tile_pages.wgsl. */
export interface TileSource {
  readonly fragments: readonly string[];
  readonly constants?: Readonly<Record<string, number>>;
  /** What is read besides queries and a cache in pages; with `own` instead of them, in f32, by what `fragments` have. */
  readonly reads: { readonly bindings: readonly Binding[]; readonly given: Readonly<Record<string, Tensor | Range>> };
  readonly own?: boolean;
}

const PAGES: TileSource = { fragments: [tilePagesWgsl], reads: { bindings: [], given: {} } };

/** Tiles of query rows: [rows, heads · (valueDim + 4)] where the call emits, else [rows, heads · valueDim]. */
export function attendTiles(call: AttentionCall, source = PAGES): Tensor {
  const { graph, cache, heads, valueDim, emit } = call;
  const { rows } = graph.tuning.attention;
  invariant(rows === 16 || rows === 32, `attention tiles of ${rows} rows: 16 or 32 fit workgroup memory`);
  const perGroup = heads / cache.heads;
  const chunks = Math.ceil(perGroup / rows);
  const group = Math.ceil(perGroup / chunks);
  const { reads, own = false } = source;
  const half = graph.tuning.f16 && cache.format === "f16" && !own;
  const out = graph.tensor("rows", heads * (valueDim + (emit ? 4 : 0)));
  const declared = own ? { ...declareScores(call), bindings: [OUT] } : declare(call);
  const tile4 = own ? [] : [half ? tileF16 : tileF32];
  graph.dispatch(
    {
      name: `attention_tile ${cache.format}`,
      wgsl: tileWgsl,
      ...declared,
      enables: [...declared.enables, ...(half ? (["f16"] as const) : [])],
      fragments: [...declared.fragments, ...tile4, ...source.fragments],
      constants: { ...declared.constants, ...source.constants, GROUP: group, ROWS: rows },
      bindings: [...reads.bindings, ...declared.bindings],
    },
    paramsOf(call),
    { ...reads.given, ...(own ? { out } : bound(call, out)) },
    [
      cache.heads * chunks * Math.ceil(valueDim / VALUE_CHUNK),
      tilesOf(graph.rows, graph.batch.limits.slots, rows, group),
    ],
  );
  return out;
}

/** Tiles that the rows of a batch can come to: each segment may end with one that is not full. */
function tilesOf(batchRows: number, slots: number, tileRows: number, group: number): number {
  const tokens = Math.floor(tileRows / group);
  const segments = Math.min(slots, batchRows);
  return Math.floor((batchRows + segments * (tokens - 1)) / tokens);
}
