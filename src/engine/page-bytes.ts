import type { CacheView, LatentView } from "../kernels/batch.ts";

/** One array of one layer's cache, [page][heads][pageSize][width], in the buffer of the layer's pool. */
export interface Plane {
  readonly layer: number;
  /** Which pool, and so which page table, the layer's pages are of. */
  readonly pool: number;
  readonly name: "key" | "value" | "scales" | "latent";
  readonly heads: number;
  /** Elements of an entry, of so many bytes each. */
  readonly width: number;
  readonly elementBytes: number;
  /** Byte of the buffer at which the array begins. */
  readonly start: number;
  /** Bytes of a page. */
  readonly pageBytes: number;
}

const BYTES = { f32: 4, f16: 2, int8: 1 };

/** The arrays of a cache, layer by layer. All that a place of a sequence holds is a page of each, in this order. */
export function planesOf(cache: CacheView | LatentView): Plane[] {
  const elementBytes = BYTES[cache.format];
  const plane = (part: Omit<Plane, "pageBytes">): Plane => ({
    ...part,
    pageBytes: part.heads * cache.pageSize * part.width * part.elementBytes,
  });
  if (cache.kind === "latent") {
    const width = cache.rank + cache.ropeDim;
    return cache.layers.map((_, layer) =>
      plane({ layer, pool: 0, name: "latent", heads: 1, width, elementBytes, start: 0 }),
    );
  }
  const { heads, headDim, valueDim = headDim } = cache;
  return cache.layers.flatMap(({ windowed, valueOffset, scaleOffset }, layer) => {
    const base = { layer, pool: windowed ? 1 : 0, heads, elementBytes };
    return [
      plane({ ...base, name: "key", width: headDim, start: 0 }),
      plane({ ...base, name: "value", width: valueDim, start: valueOffset * elementBytes }),
      // Two halves of f16 an entry, of its key and of its value.
      ...(scaleOffset === undefined
        ? []
        : [plane({ ...base, name: "scales", width: 2, elementBytes: 2, start: scaleOffset * 4 })]),
    ];
  });
}

/** Bytes of one place, pages of all pools together. */
export const placeBytes = (planes: readonly Plane[]): number => planes.reduce((sum, p) => sum + p.pageBytes, 0);
