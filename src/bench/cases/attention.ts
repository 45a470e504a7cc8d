import { pagesOf, rowsOf, type Scene } from "../../engine/rehearsal.ts";
import { attention } from "../../kernels/attention.ts";
import type { CacheFormat, CacheView, Range } from "../../kernels/batch.ts";
import { PATTERNS } from "../../kernels/fill.ts";
import { ropeWrite } from "../../kernels/rope.ts";
import type { ModelShape } from "../shapes.ts";
import { decoding, slice, type KernelCase } from "./case.ts";

/** Tokens of a page, as the loader chooses them. */
const pageSizeOf = (model: ModelShape): number => (model.headDim <= 64 ? 64 : 32);

const ELEMENT_BYTES: Record<CacheFormat, number> = { f32: 4, f16: 2, int8: 1 };

/** Bytes of one entry, key and value of every head; int8 has a word of scales for each head. */
function entryBytes(model: ModelShape, format: CacheFormat): number {
  return model.kvHeads * (2 * model.headDim * ELEMENT_BYTES[format] + (format === "int8" ? 4 : 0));
}

/** The cache of one layer over a range of the pool: all keys, all values, then scales. */
function cacheOver(pool: Range, model: ModelShape, format: CacheFormat, scene: Scene): CacheView {
  const { kvHeads: heads, headDim } = model;
  const pageSize = pageSizeOf(model);
  const elements = pagesOf(scene) * pageSize * heads * headDim;
  const scaleOffset = (2 * elements * ELEMENT_BYTES[format]) / 4;
  const layer = { pool, valueOffset: elements, ...(format === "int8" && { scaleOffset }) };
  return { kind: "kv", format, pageSize, heads, headDim, layers: [layer] };
}

const poolBytes = (model: ModelShape, format: CacheFormat, scene: Scene): number =>
  pagesOf(scene) * pageSizeOf(model) * entryBytes(model, format);

/**
 * Causal attention. Traffic: keys and values of every entry that a segment sees, read once, and queries and results.
 * Work: 2 · (key size + value size) for each query head and each entry that its row sees.
 */
function attentionOver(name: string, model: ModelShape, format: CacheFormat, segments: Scene["segments"]): KernelCase {
  const scene: Scene = { segments, pageSize: pageSizeOf(model) };
  const { heads, headDim } = model;
  const entries = segments.reduce((sum, s) => sum + s.rows + s.length, 0);
  // Row i of a segment sees what was there, the rows before it and itself.
  const seen = segments.reduce((sum, s) => sum + s.rows * s.length + (s.rows * (s.rows + 1)) / 2, 0);
  return {
    name,
    scene,
    setBytes: poolBytes(model, format, scene),
    pattern: format === "f32" ? PATTERNS.f32 : PATTERNS.f16,
    bytes: entries * entryBytes(model, format) + 2 * rowsOf(scene) * heads * headDim * 4,
    flops: seen * heads * 4 * headDim,
    draw(graph, set) {
      const q = graph.tensor("rows", heads * headDim);
      return attention(graph, q, cacheOver(set, model, format, scene), 0, { scale: headDim ** -0.5 });
    },
  };
}

/** One row each of `sequences` that have `context` entries already. */
export function attentionDecode(model: ModelShape, format: CacheFormat, context: number, sequences = 1): KernelCase {
  const name = `attention/${model.name}/${format}/decode${context}${sequences > 1 ? `x${sequences}` : ""}`;
  return attentionOver(name, model, format, decoding(sequences, context - 1).segments);
}

/** A prompt of `rows` on an empty cache. */
export function attentionPrefill(model: ModelShape, format: CacheFormat, rows: number): KernelCase {
  return attentionOver(`attention/${model.name}/${format}/prefill${rows}`, model, format, [{ rows, length: 0 }]);
}

/**
 * Rotation of queries and keys, and the write of keys and values. Traffic: q, k, v in, q out, the entries written.
 * Work: three operations for each rotated number.
 */
export function ropeWriteCase(model: ModelShape, format: CacheFormat, rows: number): KernelCase {
  const { heads, kvHeads, headDim } = model;
  const scene: Scene = { segments: [{ rows, length: 0 }], pageSize: pageSizeOf(model) };
  const width = (heads + 2 * kvHeads) * headDim;
  const nearBytes = 256 * headDim * 4;
  return {
    name: `rope_write/${model.name}/${format}/m${rows}`,
    scene,
    setBytes: poolBytes(model, format, scene),
    pattern: PATTERNS.f16,
    tableBytes: 2 * nearBytes,
    bytes: rows * (4 * width + 4 * heads * headDim + entryBytes(model, format)),
    flops: 3 * rows * (heads + kvHeads) * headDim,
    draw(graph, set, table) {
      const near = slice(table, 0, nearBytes);
      const far = slice(table, nearBytes, nearBytes);
      const qkv = graph.tensor("rows", width);
      return ropeWrite(graph, qkv, cacheOver(set, model, format, scene), 0, heads, { dim: headDim, near, far });
    },
  };
}
