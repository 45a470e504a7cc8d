import { invariant } from "../base/assert.ts";
import { rowWords } from "../weights/quant/layout.ts";
import cacheLoadF16 from "../../shaders/fragments/cache_f16.wgsl?raw";
import cacheLoadF32 from "../../shaders/fragments/cache_f32.wgsl?raw";
import latentPageWgsl from "../../shaders/fragments/latent_page.wgsl?raw";
import skipWgsl from "../../shaders/fragments/latent_skip.wgsl?raw";
import pagesWgsl from "../../shaders/fragments/pages.wgsl?raw";
import tileExpandedWgsl from "../../shaders/fragments/tile_expanded.wgsl?raw";
import tileLatentsWgsl from "../../shaders/fragments/tile_latents.wgsl?raw";
import expandWgsl from "../../shaders/latent_expand.wgsl?raw";
import roomWgsl from "../../shaders/latent_room.wgsl?raw";
import { read, type AttentionCall } from "./attention-call.ts";
import { mergeAttention } from "./attention-merge.ts";
import { attendTiles } from "./attention-tile.ts";
import type { CacheView, LatentView } from "./batch.ts";
import type { Graph, Tensor } from "./graph.ts";
import { headLinear, type HeadSkip } from "./head-linear.ts";
import { latentQuery, type LatentHeads, type LatentRope } from "./latent.ts";
import type { Linear } from "./linear.ts";
import { paged } from "./pages.ts";
import { unroll } from "./unroll.ts";
import { weightFragment } from "./weights.ts";

/**
 * Latent attention of prompts. Absorbed, a row and an entry cost a head 2 · rank + ropeDim multiply-adds; expanded into a key
 * and a value of the head's own, nope + ropeDim + valueDim: 3.4 times fewer with DeepSeek's sizes. Expanding an entry costs
 * what absorbing a row does, rank · (nope + valueDim), but all entries that a chunk sees are expanded for it, those of earlier
 * chunks again. So it pays for the whole of a first chunk, and in later ones from 171 rows on, whatever the length. The kernels
 * work that out for each segment of a batch (shaders/latent_room.wgsl); what stays absorbed, for want of room as well, takes
 * the same tiles, with all heads on one key. Both parts are merged.
 */

/** Expanded entries take this at most, and room for no more than the longest sequence has. */
const ROOM_BYTES = 64 << 20;
/** Fewer rows of a program are those of decode steps, verification and short chunks. */
const FEWEST_ROWS = 32;

/** Whether this program's rows are so many that `latentPrompt` is for them. */
export const takesPrompts = ({ rows, tuning }: Graph): boolean => rows >= FEWEST_ROWS && !tuning.deterministic;

export interface LatentPrompt extends LatentHeads, LatentRope {
  /** Factor of the scores before the softmax; usually (nope + ropeDim)^-½. */
  readonly scale: number;
  readonly rooms: LatentRooms;
}

/** What of each segment's sequence is expanded, alike in all layers. */
export interface LatentRooms {
  /** u32, as shaders/latent_room.wgsl says. */
  readonly list: Tensor;
  /** Entries that there is room for, those of all segments together. */
  readonly entries: number;
}

/** What the kernels of a prompt have in common. */
interface Prompt extends LatentPrompt {
  readonly graph: Graph;
  readonly cache: LatentView;
  readonly layer: number;
  readonly kvB: Linear;
  readonly sizes: Readonly<Record<"RANK" | "ROPE" | "NOPE" | "VALUE", number>>;
}

/** What a step expands, to be drawn once for all of its layers. `entries`: as many as 64 MiB hold where absent. One dispatch. */
export function latentRooms(
  graph: Graph,
  cache: LatentView,
  shape: LatentHeads,
  entries = roomFor(graph, cache, shape),
): LatentRooms {
  const { nope, valueDim } = shape;
  const { segments, state, limits } = graph.batch;
  const list = graph.tensor("one", 4 * (limits.slots + 1));
  const expansion = cache.rank * (nope + valueDim);
  graph.dispatch(
    {
      name: "latent_room",
      wgsl: roomWgsl,
      params: { entries: "u32", expansion: "f32", saved: "f32" },
      bindings: [
        read("segments", "array<Segment>"),
        read("states", "array<State>"),
        { name: "rooms", access: "read_write", type: "array<vec4u>" },
      ],
    },
    { entries, expansion, saved: 2 * cache.rank - nope - valueDim },
    { segments, states: state, rooms: list },
    [1],
  );
  return { list, entries };
}

/**
 * Attention over the pages of each row's sequence, causal: [rows, heads · valueDim] f32 from queries whose first columns are
 * those of `latentQuery`, once the rows' own latents are written. Six dispatches.
 */
export function latentPrompt(
  graph: Graph,
  q: Tensor,
  kvB: Linear,
  cache: LatentView,
  layer: number,
  options: LatentPrompt,
): Tensor {
  const { nope, valueDim } = options;
  invariant(nope % 4 === 0 && valueDim % 4 === 0, `${kvB.name}: heads of ${nope} and ${valueDim} elements`);
  const sizes = { RANK: cache.rank, ROPE: cache.ropeDim, NOPE: nope, VALUE: valueDim };
  const prompt: Prompt = { ...options, graph, cache, layer, kvB, sizes };
  const queries = latentQuery(graph, q, kvB, cache, { ...options, skip: skipOf(prompt) });
  const absorbed = attendLatents(prompt, queries);
  const expanded = attendExpanded(prompt, q, queries);
  const { heads } = options;
  const [a, b] = [absorbed, expanded].map((state) => ({ state, parts: 1, heads, valueDim }));
  return mergeAttention(graph, [a!, b!]);
}

/** Entries that there is room for; at least one tile's. */
function roomFor({ batch, maxLength }: Graph, { pageSize, ropeDim }: LatentView, shape: LatentHeads): number {
  const entryBytes = (shape.heads * (shape.nope + shape.valueDim) + ropeDim) * 4;
  const longest = Math.min(maxLength, batch.limits.pagesPerSequence * pageSize);
  return Math.max(64, Math.min(longest, Math.floor(ROOM_BYTES / entryBytes)));
}

const ROOMS = read("rooms", "array<vec4u>");

const skipOf = ({ rooms }: Prompt): HeadSkip => ({
  fragments: [skipWgsl],
  bindings: [ROOMS],
  given: { rooms: rooms.list },
});

/** An attention call over `cache`, whose layers are one. */
function callOver(prompt: Prompt, q: Tensor, cache: Omit<CacheView, "kind" | "layers">): AttentionCall {
  const { graph, scale, heads } = prompt;
  const { pool } = prompt.cache.layers[prompt.layer]!;
  const view: CacheView = { ...cache, kind: "kv", layers: [{ pool, valueOffset: 0 }] };
  return { graph, q, cache: view, layer: 0, options: { scale }, emit: true, heads, valueDim: cache.valueDim! };
}

/** The part of the entries that are not expanded: [rows, heads, valueDim + 4] f32, unfinished. */
function attendLatents(prompt: Prompt, queries: Tensor): Tensor {
  const { graph, cache, kvB, rooms, heads, nope, valueDim } = prompt;
  const { rank, ropeDim, format, pageSize } = cache;
  const call = callOver(prompt, queries, { format, pageSize, heads: 1, headDim: rank + ropeDim, valueDim: rank });
  const state = attendTiles(call, {
    fragments: [tileLatentsWgsl],
    reads: { bindings: [ROOMS], given: { rooms: rooms.list } },
  });
  return headLinear(graph, state, kvB, {
    heads,
    rows: { start: nope, count: valueDim, step: nope + valueDim },
    inputStep: rank + 4,
    into: { out: graph.tensor("rows", heads * (valueDim + 4)), step: valueDim + 4 },
    rest: true,
    skip: skipOf(prompt),
  });
}

/** The part of those that are, in the same form. */
function attendExpanded(prompt: Prompt, q: Tensor, queries: Tensor): Tensor {
  const { graph, sizes, heads, nope, valueDim, cache, rooms } = prompt;
  const [headDim, expanded] = [nope + cache.ropeDim, expand(prompt)];
  const call = callOver(prompt, q, { format: "f32", pageSize: 32, heads, headDim, valueDim });
  const { rows, state: states, segments } = graph.batch;
  return attendTiles(call, {
    fragments: [tileExpandedWgsl],
    constants: { ...sizes, Q_WIDTH: q.width },
    own: true,
    reads: {
      bindings: [
        read("rows", "array<Row>"),
        read("states", "array<State>"),
        read("segments", "array<Segment>"),
        read("q", "array<vec4f>"),
        read("turned", "array<vec4f>"),
        read("expanded", "array<vec4f>"),
        ROOMS,
      ],
      given: { rows, states, segments, q, turned: queries, expanded, rooms: rooms.list },
    },
  });
}

/** Keys and values of the entries for which there is room: [entries, heads · (nope + valueDim) + ropeDim] f32. */
function expand({ graph, cache, layer, kvB, sizes, heads, nope, valueDim, rooms }: Prompt): Tensor {
  const { list, entries } = rooms;
  const [part] = kvB.parts;
  invariant(part && kvB.parts.length === 1 && !kvB.bias, `${kvB.name} is in one part and without a bias`);
  const width = heads * (nope + valueDim);
  const out = graph.tensor("one", entries * (width + cache.ropeDim));
  const { pageTable } = paged(graph);
  graph.dispatch(
    {
      name: `latent_expand ${cache.format} ${kvB.layout}`,
      wgsl: unroll(expandWgsl, { LANE_ROWS: 4 }),
      fragments: [
        cache.format === "f32" ? cacheLoadF32 : cacheLoadF16,
        pagesWgsl,
        latentPageWgsl,
        weightFragment(kvB.layout),
      ],
      params: { pagesPerSequence: "u32", columns: "u32", rowWords: "u32", deep4: "u32" },
      constants: { HEADS: heads, PAGE: cache.pageSize, ...sizes },
      bindings: [
        ROOMS,
        read("pageTable", "array<Page>"),
        read("pool", cache.format === "f32" ? "array<vec4f>" : "array<vec2u>"),
        read("weights", "array<u32>"),
        { name: "out", access: "read_write", type: "array<vec4f>" },
      ],
    },
    {
      pagesPerSequence: graph.batch.limits.pagesPerSequence,
      columns: kvB.inFeatures,
      rowWords: rowWords(kvB.layout, kvB.inFeatures),
      deep4: 4,
    },
    { rooms: list, pageTable, pool: cache.layers[layer]!.pool, weights: part.weights, out },
    [Math.ceil(width / 64) + 1, Math.ceil(entries / 64)],
  );
  return out;
}
