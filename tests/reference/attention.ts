/** Attention of one query head over the keys it sees, in float64. */
export interface AttentionReference {
  /** [headDim] */
  query: ArrayLike<number>;
  /** The visible keys [headDim] and values [valueDim]. */
  keys: readonly ArrayLike<number>[];
  values: readonly ArrayLike<number>[];
  scale: number;
  /** cap · tanh(s / cap) in place of the score s. */
  softcap?: number | undefined;
  /** Added to the scores, one for each key: −slope · distance. */
  bias?: readonly number[] | undefined;
  /** A score without a value. */
  sink?: number | undefined;
}

/** The scores before the softmax, one for each visible key. */
export function scoresReference({ query, keys, scale, softcap, bias }: AttentionReference): number[] {
  return keys.map((key, t) => {
    let sum = 0;
    for (let d = 0; d < query.length; d++) sum += query[d]! * key[d]!;
    const s = sum * scale;
    return (softcap === undefined ? s : softcap * Math.tanh(s / softcap)) + (bias?.[t] ?? 0);
  });
}

/** softmax(scale · q · Kᵀ) · V, [valueDim]; zeros where nothing is visible. */
export function attentionReference(of: AttentionReference, valueDim: number): Float64Array {
  const scores = scoresReference(of);
  const top = Math.max(...scores, of.sink ?? -Infinity);
  const weights = scores.map((s) => Math.exp(s - top));
  const total = weights.reduce((a, b) => a + b, of.sink === undefined ? 0 : Math.exp(of.sink - top));
  const result = new Float64Array(valueDim);
  of.values.forEach((value, t) => {
    for (let d = 0; d < valueDim; d++) result[d]! += (weights[t]! / total) * value[d]!;
  });
  return result;
}

/** One part of an unfinished attention: Σ exp(s − m) · V, the maximum m, and l = Σ exp(s − m). */
export interface PartialReference {
  out: ArrayLike<number>;
  m: number;
  l: number;
}

/** The attention over the union of the parts' keys (FlashAttention, Dao et al. 2022, §3.1). Parts over nothing have no `out`. */
export function mergePartials(parts: readonly PartialReference[]): Float64Array {
  const seen = parts.filter((p) => p.l > 0);
  const top = Math.max(...seen.map((p) => p.m));
  const result = new Float64Array(parts[0]!.out.length);
  let total = 0;
  for (const { out, m, l } of seen) {
    total += l * Math.exp(m - top);
    for (let d = 0; d < result.length; d++) result[d]! += out[d]! * Math.exp(m - top);
  }
  return seen.length === 0 ? result : result.map((v) => v / total);
}
