import type { CacheView } from "../../../src/kernels/batch.ts";
import { copyPages } from "../../../src/kernels/pages.ts";
import { ropeWrite } from "../../../src/kernels/rope.ts";
import type { Drawing } from "./drawing.ts";

/** Key heads and query heads; the last are more than a workgroup takes at any width. */
const HEADS = [
  [1, 1],
  [2, 8],
  [1, 32],
  [8, 64],
  [3, 9],
  [1, 71],
] as const;

/** Every head width that a config may have. */
const HEAD_DIMS = Array.from({ length: 128 }, (_, i) => 4 * (i + 1));

export const drawings: Drawing[] = (["f32", "f16"] as const).flatMap((format) =>
  HEAD_DIMS.map((headDim, i): Drawing => {
    const [kvHeads, heads] = HEADS[format === "f32" ? HEADS.length - 1 : i % HEADS.length]!;
    return {
      name: `rope, ${format} cache, ${heads}/${kvHeads} heads of ${headDim}`,
      draw: (graph, pool) => {
        const layers = [{ pool, valueOffset: 0 }];
        const cache: CacheView = { kind: "kv", format, pageSize: 32, heads: kvHeads, headDim, layers };
        const qkv = graph.tensor("rows", (heads + 2 * kvHeads) * headDim);
        ropeWrite(graph, qkv, cache, 0, heads, { dim: headDim, near: pool, far: pool });
        copyPages(graph, cache);
      },
    };
  }),
);
