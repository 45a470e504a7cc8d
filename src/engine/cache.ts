import { invariant } from "../base/assert.ts";
import { OutOfMemoryError } from "../base/errors.ts";
import { Usage } from "../gpu/arena.ts";
import type { Gpu } from "../gpu/device.ts";
import type { CacheFormat, CacheView, LatentView } from "../kernels/batch.ts";
import type { CacheSpec } from "../models/family.ts";

/** Pages of the layers that see equally far. */
export interface PoolPlan {
  /** Entries that a row sees, its own among them; Infinity: all. */
  readonly window: number;
  /** Pages wanted, and the least that will do. */
  readonly wanted: number;
  readonly least: number;
}

export interface CachePlan {
  readonly format: CacheFormat;
  /** Tokens a page holds. */
  readonly pageSize: number;
  /** Bytes of one binding at most. */
  readonly maxBinding: number;
  /** One pool for most models; where only some layers have a window, theirs is the second. */
  readonly pools: readonly PoolPlan[];
}

const BYTES: Readonly<Record<CacheFormat, number>> = { f32: 4, f16: 2, int8: 1 };
/** Both f16 scales of an int8 entry of one head. */
const SCALE_BYTES = 4;

/** Bytes of the cache that one token takes in one layer. */
export function entryBytes(spec: CacheSpec, format: CacheFormat): number {
  if (spec.kind === "latent") return (spec.rank + spec.ropeDim) * BYTES[format];
  const { heads, headDim, valueDim = headDim } = spec;
  return heads * ((headDim + valueDim) * BYTES[format] + (format === "int8" ? SCALE_BYTES : 0));
}

/** By layer, how many entries a row sees. A window as long as the longest request is none. */
function windowsOf(spec: CacheSpec, contextTokens: number): number[] {
  const windows = spec.kind === "kv" ? spec.windows : undefined;
  return Array.from({ length: spec.layers }, (_, i) => {
    const window = windows?.[i] ?? Infinity;
    return window < contextTokens ? window : Infinity;
  });
}

/** The windows of a cache's pools: first of the layers that see everything, then of those that do not, the longest counts. */
export function poolWindows(spec: CacheSpec, contextTokens: number): number[] {
  const windows = windowsOf(spec, contextTokens);
  const finite = windows.filter((window) => window < Infinity);
  if (finite.length === 0) return [Infinity];
  const longest = Math.max(...finite);
  return finite.length === windows.length ? [longest] : [Infinity, longest];
}

/**
 * The pages of each layer, of the pool that it belongs to: as many as wanted, or as fit, but at least those of one context.
 * `pages` are those of each pool.
 * @throws OutOfMemoryError with what one context needs and what there is
 */
export async function createCache(
  gpu: Gpu,
  spec: CacheSpec,
  plan: CachePlan,
): Promise<{ cache: CacheView | LatentView; pages: number[] }> {
  const { format, pageSize, maxBinding, pools } = plan;
  const bytesPerPage = pageSize * entryBytes(spec, format);
  const windows = windowsOf(spec, Infinity);
  const pooled = Array.from({ length: spec.layers }, (_, i) =>
    pools.length > 1 && windows[i]! <= pools[1]!.window ? 1 : 0,
  );
  const layersOf = pools.map((_, k) => pooled.filter((pool) => pool === k).length);
  const pages = share(gpu, { pools, layersOf, bytesPerPage, maxBinding, pageSize });
  const layers = [];
  for (const [i, pool] of pooled.entries()) {
    const bytes = pages[pool]! * bytesPerPage;
    const usage = Usage.storage | Usage.copySrc | Usage.copyDst;
    const buffer = await gpu.arena.allocate("kv", `cache of layer ${i}`, bytes, usage);
    layers.push({ pool: { buffer, offset: 0, size: buffer.size }, ...(pool > 0 && { windowed: true }) });
  }
  if (spec.kind === "latent") {
    invariant(format !== "int8", "a latent cache in int8");
    const { rank, ropeDim } = spec;
    return { cache: { kind: "latent", format, pageSize, rank, ropeDim, layers }, pages };
  }
  const { heads, headDim, valueDim = headDim } = spec;
  const placed = layers.map((layer, i) => {
    const entries = pages[pooled[i]!]! * pageSize * heads;
    const scaleOffset = (entries * (headDim + valueDim)) / 4;
    return { ...layer, valueOffset: entries * headDim, ...(format === "int8" && { scaleOffset }) };
  });
  return { cache: { kind: "kv", format, pageSize, heads, headDim, valueDim, layers: placed }, pages };
}

interface Sharing extends Omit<CachePlan, "format"> {
  /** Layers of each pool. */
  readonly layersOf: readonly number[];
  readonly bytesPerPage: number;
}

/** Pages of each pool: the least, and of what is wanted beyond that as large a part of each as there is memory for. */
function share(gpu: Gpu, { pools, layersOf, bytesPerPage, maxBinding, pageSize }: Sharing): number[] {
  // Activations come after the cache, so a tenth of what a budget leaves is kept for them.
  const budget = Math.max(0, Math.floor(gpu.arena.available * 0.9));
  const bindable = Math.floor(maxBinding / bytesPerPage);
  const bytesOf = (pagesOf: (pool: PoolPlan) => number): number =>
    pools.reduce((sum, pool, k) => sum + pagesOf(pool) * layersOf[k]! * bytesPerPage, 0);
  const least = bytesOf((pool) => pool.least);
  if (least > budget || pools.some((pool) => pool.least > bindable)) {
    const layers = layersOf.reduce((a, b) => a + b);
    const context = Math.max(...pools.map((pool) => pool.least)) * pageSize;
    throw new OutOfMemoryError(
      `The cache of one context (${context} tokens)`,
      least,
      Math.min(budget, maxBinding * layers),
    );
  }
  const more = bytesOf((pool) => Math.max(0, pool.wanted - pool.least));
  const part = more > 0 ? Math.min(1, (budget - least) / more) : 0;
  return pools.map((pool) => {
    const wanted = Math.max(0, Math.min(pool.wanted, bindable) - pool.least);
    return pool.least + Math.floor(wanted * part);
  });
}
