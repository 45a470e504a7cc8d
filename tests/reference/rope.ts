/**
 * Rotary embedding of one head in float64 (rotate-half, Su et al. 2021): element e < dim / 2 and its partner
 * e + dim / 2 turn by position · frequencies[e]; elements from `dim` on stay.
 */
export function ropeReference(head: ArrayLike<number>, position: number, frequencies: ArrayLike<number>): Float64Array {
  const half = frequencies.length;
  const result = Float64Array.from(head);
  for (let e = 0; e < half; e++) {
    const [cosine, sine] = [Math.cos(position * frequencies[e]!), Math.sin(position * frequencies[e]!)];
    result[e] = head[e]! * cosine - head[e + half]! * sine;
    result[e + half] = head[e + half]! * cosine + head[e]! * sine;
  }
  return result;
}
