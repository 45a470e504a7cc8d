/**
 * Rotary embedding of one head in float64 (Su et al. 2021): with h = dim / 2 frequencies, element e < h and its partner
 * e + h turn by position · frequencies[e]; interleaved, elements 2e and 2e + 1 do. Elements from `dim` on stay.
 */
export function ropeReference(
  head: ArrayLike<number>,
  position: number,
  frequencies: ArrayLike<number>,
  interleaved = false,
): Float64Array {
  const half = frequencies.length;
  const result = Float64Array.from(head);
  for (let e = 0; e < half; e++) {
    const [cosine, sine] = [Math.cos(position * frequencies[e]!), Math.sin(position * frequencies[e]!)];
    const [a, b] = interleaved ? [2 * e, 2 * e + 1] : [e, e + half];
    result[a] = head[a]! * cosine - head[b]! * sine;
    result[b] = head[b]! * cosine + head[a]! * sine;
  }
  return result;
}

/** theta^(−2e / dim) for e < dim / 2. */
export function ropeFrequencies(theta: number, dim: number): Float64Array {
  return Float64Array.from({ length: dim / 2 }, (_, e) => theta ** ((-2 * e) / dim));
}

/**
 * The tables that kernels read (`RopeTable`): (cos, sin) at positions 0 … 255, and at every 256th below `context`. With several
 * regimes the frequencies are those of the first, then of the next: so they stand beside each other.
 */
export function ropeTableValues(
  frequencies: Float64Array | readonly number[],
  context: number,
): { near: Float32Array<ArrayBuffer>; far: Float32Array<ArrayBuffer> } {
  const table = (count: number, step: number): Float32Array<ArrayBuffer> =>
    Float32Array.from(
      Array.from({ length: count }, (_, i) =>
        Array.from(frequencies, (f) => [Math.cos(i * step * f), Math.sin(i * step * f)]),
      ).flat(2),
    );
  return { near: table(256, 1), far: table(Math.ceil(context / 256), 256) };
}
