import { pagesOf, type Scene } from "../../engine/rehearsal.ts";
import type { LatentView } from "../../kernels/batch.ts";
import { PATTERNS } from "../../kernels/fill.ts";
import { latentPrompt, latentRooms } from "../../kernels/latent-expand.ts";
import { latentAttention } from "../../kernels/latent.ts";
import type { Linear } from "../../kernels/linear.ts";
import { rowWords } from "../../weights/quant/layout.ts";
import type { LatentShape } from "../shapes.ts";
import { decoding, slice, type KernelCase } from "./case.ts";

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

/**
 * The attention of a prompt on an empty cache, from its queries to its values, with kv_b in 4 bits. Traffic: each entry and the
 * matrix read once, queries and results. Work: keys and values of heads made once, then 2 · (key size + value size) for each
 * head and each entry that its row sees.
 */
export function latentPrefill(model: LatentShape, rows: number): KernelCase {
  const { heads, rank, ropeDim, nope, valueDim } = model;
  const scene: Scene = { segments: [{ rows, length: 0 }], pageSize: PAGE };
  const entry = 2 * (rank + ropeDim);
  const poolBytes = pagesOf(scene) * PAGE * entry;
  const outFeatures = heads * (nope + valueDim);
  const matrixBytes = outFeatures * rowWords("q4", rank) * 4;
  const nearBytes = 256 * ropeDim * 4;
  const seen = (rows * (rows + 1)) / 2;
  return {
    name: `latent_prompt/${model.name}/q4/prefill${rows}`,
    scene,
    setBytes: poolBytes + matrixBytes,
    pattern: PATTERNS.f16,
    tableBytes: nearBytes + Math.ceil(rows / 256) * ropeDim * 4,
    bytes: rows * entry + matrixBytes + 4 * rows * heads * (nope + ropeDim + valueDim),
    flops: 2 * rows * rank * outFeatures + seen * heads * 2 * (nope + ropeDim + valueDim),
    draw(graph, set, table) {
      const pool = slice(set, 0, poolBytes);
      const cache: LatentView = { kind: "latent", format: "f16", pageSize: PAGE, rank, ropeDim, layers: [{ pool }] };
      const parts = [{ weights: slice(set, poolBytes, matrixBytes), rowStart: 0, rowCount: outFeatures }];
      const kvB: Linear = { name: "kv_b", inFeatures: rank, outFeatures, layout: "q4", parts };
      const near = slice(table, 0, nearBytes);
      const rope = { dim: ropeDim, near, far: slice(table, nearBytes, table.size - nearBytes) };
      const rooms = latentRooms(graph, cache, model);
      const q = graph.tensor("rows", heads * (nope + ropeDim));
      return latentPrompt(graph, q, kvB, cache, 0, { ...model, rope, rooms, scale: (nope + ropeDim) ** -0.5 });
    },
  };
}
