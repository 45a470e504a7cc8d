/** softmax(scale · q · Kᵀ) · V of one head in float64; zeros where there is no key. Keys may be longer than values. */
export function mixedValues(
  query: ArrayLike<number>,
  keys: readonly ArrayLike<number>[],
  values: readonly ArrayLike<number>[],
  scale: number,
  valueDim: number,
): number[] {
  const scores = keys.map((key) => Array.from(query).reduce((sum, v, d) => sum + v * key[d]!, 0) * scale);
  const top = Math.max(...scores);
  const weights = scores.map((s) => Math.exp(s - top));
  const total = weights.reduce((a, b) => a + b, 0);
  return Array.from({ length: valueDim }, (_, d) =>
    values.reduce((sum, value, t) => sum + (weights[t]! / total) * value[d]!, 0),
  );
}

/** Multi-head latent attention of one row in float64, as the paper defines it: every head has keys and values of its own. */
export interface LatentReference {
  readonly heads: number;
  readonly nope: number;
  readonly ropeDim: number;
  readonly valueDim: number;
  readonly rank: number;
  /** [heads · (nope + ropeDim)], the last ropeDim of each head rotated. */
  readonly query: ArrayLike<number>;
  /** The visible latents: [rank], normalised, then [ropeDim], rotated. */
  readonly latents: readonly ArrayLike<number>[];
  /** [heads · (nope + valueDim), rank]: head after head, rows that make keys, then rows that make values. */
  readonly kvB: ArrayLike<number>;
  readonly scale: number;
}

/** [heads · valueDim] */
export function latentReference(given: LatentReference): number[] {
  const { heads, nope, ropeDim, valueDim, rank, query, latents, kvB, scale } = given;
  const expanded = (latent: ArrayLike<number>, firstRow: number, count: number): number[] =>
    Array.from({ length: count }, (_, n) => {
      let sum = 0;
      for (let c = 0; c < rank; c++) sum += kvB[(firstRow + n) * rank + c]! * latent[c]!;
      return sum;
    });
  return Array.from({ length: heads }, (_, h) => {
    const firstRow = h * (nope + valueDim);
    const keys = latents.map((l) => [...expanded(l, firstRow, nope), ...Array.from(l).slice(rank)]);
    const values = latents.map((l) => expanded(l, firstRow + nope, valueDim));
    const start = h * (nope + ropeDim);
    const own = Array.from(query).slice(start, start + nope + ropeDim);
    return mixedValues(own, keys, values, scale, valueDim);
  }).flat();
}
