/** Attention of one query head over the keys it sees, in float64. */
export interface AttentionReference {
  /** [headDim] */
  query: ArrayLike<number>;
  /** The visible keys and values, [headDim] each. */
  keys: readonly ArrayLike<number>[];
  values: readonly ArrayLike<number>[];
  scale: number;
}

/** softmax(scale · q · Kᵀ) · V, [headDim]; zeros where nothing is visible. */
export function attentionReference({ query, keys, values, scale }: AttentionReference): Float64Array {
  const scores = keys.map((key) => {
    let sum = 0;
    for (let d = 0; d < query.length; d++) sum += query[d]! * key[d]!;
    return sum * scale;
  });
  const top = Math.max(...scores);
  const weights = scores.map((s) => Math.exp(s - top));
  const total = weights.reduce((a, b) => a + b, 0);
  const result = new Float64Array(query.length);
  values.forEach((value, t) => {
    for (let d = 0; d < query.length; d++) result[d]! += (weights[t]! / total) * value[d]!;
  });
  return result;
}

/** One part of an unfinished attention: Σ exp(s − m) · V, the maximum m, and l = Σ exp(s − m). */
export interface PartialAttention {
  out: ArrayLike<number>;
  m: number;
  l: number;
}

/** The attention over the union of the parts' keys (FlashAttention, Dao et al. 2022, §3.1). */
export function mergePartials(parts: readonly PartialAttention[]): Float64Array {
  const top = Math.max(...parts.map((p) => p.m));
  const result = new Float64Array(parts[0]!.out.length);
  let total = 0;
  for (const { out, m, l } of parts) {
    total += l * Math.exp(m - top);
    for (let d = 0; d < result.length; d++) result[d]! += out[d]! * Math.exp(m - top);
  }
  return result.map((v) => v / total);
}
