import { invariant } from "../base/assert.ts";
import cacheStoreF16 from "../../shaders/fragments/cache_store_f16.wgsl?raw";
import cacheStoreF32 from "../../shaders/fragments/cache_store_f32.wgsl?raw";
import pagesWgsl from "../../shaders/fragments/pages.wgsl?raw";
import ropeWriteWgsl from "../../shaders/rope_write.wgsl?raw";
import type { CacheView, Range } from "./batch.ts";
import type { Binding } from "./define.ts";
import type { Graph, Tensor } from "./graph.ts";
import { PAGED, paged } from "./pages.ts";

/** cos and sin of every angle a regime needs, as `rope_write` reads them. */
export interface RopeTable {
  /** Elements of a head that rotate; the first `dim` of them. A multiple of 4. */
  readonly dim: number;
  /** [256, dim / 2] (cos, sin) f32 of the angles of positions 0 … 255. */
  readonly near: Range;
  /** [⌈context / 256⌉, dim / 2] (cos, sin) f32 of the angles of positions 0, 256, 512, … */
  readonly far: Range;
}

const read = (name: string, type: string): Binding => ({ name, access: "read", type });

/**
 * Rotates queries and keys, and writes keys and values to the cache of one layer.
 * qkv: [rows, (heads + 2 · kvHeads) · headDim] f32. Returns the queries, [rows, heads · headDim] f32.
 */
export function ropeWrite(
  graph: Graph,
  qkv: Tensor,
  cache: CacheView,
  layer: number,
  heads: number,
  rope: RopeTable,
): Tensor {
  const { headDim, heads: kvHeads } = cache;
  invariant(qkv.width === (heads + 2 * kvHeads) * headDim, `qkv is ${qkv.width} wide`);
  invariant(headDim % 4 === 0 && rope.dim % 4 === 0 && rope.dim <= headDim, `rotary part ${rope.dim} of ${headDim}`);
  const q = graph.tensor("rows", heads * headDim);
  const { pool, valueOffset } = cache.layers[layer]!;
  graph.dispatch(
    {
      name: `rope_write ${cache.format}`,
      wgsl: ropeWriteWgsl,
      fragments: [cache.format === "f32" ? cacheStoreF32 : cacheStoreF16, pagesWgsl],
      params: { pagesPerSequence: "u32", valueOffset: "u32" },
      constants: { HEADS: heads, KV_HEADS: kvHeads, HEAD_DIM: headDim, ROTARY: rope.dim, PAGE: cache.pageSize },
      bindings: [
        ...PAGED,
        read("qkv", "array<f32>"),
        read("near", "array<vec2f>"),
        read("far", "array<vec2f>"),
        { name: "q", access: "read_write", type: "array<f32>" },
        { name: "pool", access: "read_write", type: "array<u32>" },
      ],
    },
    { pagesPerSequence: graph.batch.limits.pagesPerSequence, valueOffset },
    { ...paged(graph), qkv, near: rope.near, far: rope.far, q, pool },
    [Math.ceil(qkv.width / 256), graph.rows],
  );
  return q;
}
