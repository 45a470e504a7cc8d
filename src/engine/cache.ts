import { OutOfMemoryError } from "../base/errors.ts";
import { Usage } from "../gpu/arena.ts";
import type { Gpu } from "../gpu/device.ts";
import type { CacheFormat, CacheView } from "../kernels/batch.ts";
import type { CacheSpec } from "../models/family.ts";

export interface CachePlan {
  format: CacheFormat;
  /** Tokens a page holds. */
  pageSize: number;
  /** Bytes of one binding at most. */
  maxBinding: number;
  /** Pages wanted, and the least that will do. */
  wanted: number;
  least: number;
}

const BYTES: Readonly<Record<CacheFormat, number>> = { f32: 4, f16: 2, int8: 1 };
/** Both f16 scales of an int8 entry of one head. */
const SCALE_BYTES = 4;

/** Bytes of the cache that one token takes in one layer. */
export function entryBytes({ heads, headDim, valueDim = headDim }: CacheSpec, format: CacheFormat): number {
  return heads * ((headDim + valueDim) * BYTES[format] + (format === "int8" ? SCALE_BYTES : 0));
}

/**
 * A pool of pages for each layer: as many as wanted, or as fit, but at least one context.
 * @throws OutOfMemoryError with what one context needs and what there is
 */
export async function createCache(
  gpu: Gpu,
  spec: CacheSpec,
  plan: CachePlan,
): Promise<{ cache: CacheView; pages: number }> {
  const { format, pageSize, maxBinding, wanted, least } = plan;
  const { heads, headDim, valueDim = headDim } = spec;
  const bytesPerPage = pageSize * entryBytes(spec, format);
  // Activations come after the cache, so a tenth of what a budget leaves is kept for them.
  const budget = Math.floor((gpu.arena.available * 0.9) / spec.layers);
  const most = Math.floor(Math.min(maxBinding, budget) / bytesPerPage);
  const pages = Math.min(wanted, most);
  if (pages < least) {
    throw new OutOfMemoryError(
      `The cache of one context (${least * pageSize} tokens)`,
      least * bytesPerPage * spec.layers,
      Math.max(0, Math.min(budget, maxBinding) * spec.layers),
    );
  }
  const entries = pages * pageSize * heads;
  const offsets = {
    valueOffset: entries * headDim,
    ...(format === "int8" && { scaleOffset: (entries * (headDim + valueDim)) / 4 }),
  };
  const layers = [];
  for (let i = 0; i < spec.layers; i++) {
    const buffer = await gpu.arena.allocate("kv", `cache of layer ${i}`, pages * bytesPerPage, Usage.storage);
    layers.push({ pool: { buffer, offset: 0, size: buffer.size }, ...offsets });
  }
  return { cache: { kind: "kv", format, pageSize, heads, headDim, valueDim, layers }, pages };
}
