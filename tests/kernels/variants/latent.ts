import type { LatentView } from "../../../src/kernels/batch.ts";
import { headLinearMerged } from "../../../src/kernels/head-linear-merged.ts";
import { headLinear } from "../../../src/kernels/head-linear.ts";
import { latentPrompt, latentRooms } from "../../../src/kernels/latent-expand.ts";
import { latentAttention, latentOutput, latentQuery, latentWrite } from "../../../src/kernels/latent.ts";
import type { Linear } from "../../../src/kernels/linear.ts";
import { layer, LAYOUTS, type Drawing } from "./drawing.ts";

/** Ranks around each number of slices, with rotated parts and numbers of heads in turn. */
const SIZES = [8, 64, 72, 128, 136, 256, 264, 384, 512, 768].map((rank, i) => ({
  rank,
  ropeDim: [64, 4, 8, 32, 128][i % 5]!,
  heads: [16, 1, 3, 17, 20, 128][i % 6]!,
}));

const layers: Drawing[] = (["f32", "f16"] as const).flatMap((format) =>
  SIZES.map(({ rank, ropeDim, heads }): Drawing => ({
    name: `latent, ${format} cache, ${heads} heads, ${rank} + ${ropeDim}`,
    draw: (graph, pool) => {
      const [nope, valueDim] = [12, 12];
      const cache: LatentView = { kind: "latent", format, pageSize: 32, rank, ropeDim, layers: [{ pool }] };
      const outFeatures = heads * (nope + valueDim);
      const parts = [{ weights: pool, rowStart: 0, rowCount: outFeatures }];
      const kvB: Linear = { name: "kv_b", inFeatures: rank, outFeatures, layout: "f32", parts };
      const shape = { heads, nope, valueDim };
      const turn = { rope: { dim: ropeDim, near: pool, far: pool }, interleaved: rank % 16 === 0 };
      latentWrite(graph, graph.tensor("rows", rank + ropeDim), cache, 0, { gain: pool, eps: 1e-6, ...turn });
      const q = graph.tensor("rows", heads * (nope + ropeDim));
      const queries = latentQuery(graph, q, kvB, cache, { ...shape, ...turn });
      latentOutput(graph, queries, kvB, cache, 0, { ...shape, scale: 1 });
      // Split, and merged alone.
      const long = { ...cache, pageSize: 1024 };
      latentOutput(graph, queries, kvB, long, 0, { ...shape, scale: 1 });
      if (graph.rows > 1) latentAttention(graph, queries, long, 0, { heads, scale: 1 });
      const rooms = latentRooms(graph, cache, shape);
      latentPrompt(graph, q, kvB, cache, 0, { ...shape, ...turn, scale: 1, rooms });
    },
  })),
);

export const drawings: Drawing[] = [
  ...layers,
  ...LAYOUTS.flatMap((layout) =>
    [false, true].map((transposed): Drawing => ({
      name: `head linear ${layout}${transposed ? ", by columns" : ""}`,
      draw: (graph, range) => {
        const matrix = layer(layout, range);
        headLinear(graph, graph.tensor("rows", transposed ? 64 : 256), matrix, { heads: 4, transposed });
        if (transposed) return;
        const state = graph.tensor("rows", 3 * 4 * (matrix.inFeatures + 4));
        const part = { state, parts: 3, heads: 4, valueDim: matrix.inFeatures };
        headLinearMerged(graph, part, matrix, { start: 0, count: 16, step: 16 });
      },
    })),
  ),
];
