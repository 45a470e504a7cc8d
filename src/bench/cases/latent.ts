import { pagesOf, type Scene } from "../../engine/rehearsal.ts";
import type { LatentView } from "../../kernels/batch.ts";
import { PATTERNS } from "../../kernels/fill.ts";
import { latentAttention } from "../../kernels/latent.ts";
import type { LatentShape } from "../shapes.ts";
import { decoding, type KernelCase } from "./case.ts";

const PAGE = 64;

/**
 * Multi-head latent attention of one row over `context` entries in f16. Traffic: each entry read once for all heads, queries and
 * results. Work: 2 · (rank + rope) for a score and 2 · rank for its values, each head and entry.
 */
export function latentDecode(model: LatentShape, context: number): KernelCase {
  const { heads, rank, ropeDim } = model;
  const scene: Scene = { ...decoding(1, context - 1), pageSize: PAGE };
  const entry = 2 * (rank + ropeDim);
  return {
    name: `latent_attention/${model.name}/f16/decode${context}`,
    scene,
    setBytes: pagesOf(scene) * PAGE * entry,
    pattern: PATTERNS.f16,
    bytes: context * entry + 4 * heads * (2 * rank + ropeDim),
    flops: context * heads * 2 * (2 * rank + ropeDim),
    draw(graph, pool) {
      const cache: LatentView = { kind: "latent", format: "f16", pageSize: PAGE, rank, ropeDim, layers: [{ pool }] };
      const q = graph.tensor("rows", heads * (rank + ropeDim));
      return latentAttention(graph, q, cache, 0, { heads, scale: 192 ** -0.5 });
    },
  };
}
