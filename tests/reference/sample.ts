/** The sampler on the CPU: the same counter-based random bits, the rest in float64. */

/** PCG4D (Jarzynski & Olano 2020, "Hash Functions for GPU Rendering"), in 32-bit integers. */
export function pcg4d(input: readonly [number, number, number, number]): [number, number, number, number] {
  let [x, y, z, w] = input.map((v) => (Math.imul(v, 1664525) + 1013904223) | 0) as [number, number, number, number];
  const mix = (): void => {
    x = (x + Math.imul(y, w)) | 0;
    y = (y + Math.imul(z, x)) | 0;
    z = (z + Math.imul(x, y)) | 0;
    w = (w + Math.imul(y, z)) | 0;
  };
  mix();
  [x, y, z, w] = [x ^ (x >>> 16), y ^ (y >>> 16), z ^ (z >>> 16), w ^ (w >>> 16)];
  mix();
  return [x >>> 0, y >>> 0, z >>> 0, w >>> 0];
}

/** The Gumbel variate of a token: −ln(E), E exponential, from (seed, draws made, token) alone. */
export function gumbel(seed: number, draw: number, token: number): number {
  const [bits] = pcg4d([token, draw, seed, 0x7e55e2a]);
  const u = Math.min((bits + 0.5) / 2 ** 32, 1 - 2 ** -24);
  return -Math.log(-Math.log1p(-u));
}

export interface DrawReference {
  /** [vocab] */
  logits: ArrayLike<number>;
  temperature: number;
  seed: number;
  /** Draws made before. */
  counter: number;
  /** Allowed tokens; all where absent. */
  allowed?: (token: number) => boolean;
}

/**
 * The token drawn, null where no logit is finite, its key (scaled logit plus variate), and how far the key is ahead of the next one: keys closer than the
 * GPU's rounding may be ordered either way there.
 */
export function drawReference({ logits, temperature, seed, counter, allowed }: DrawReference): {
  token: number | null;
  key: number;
  margin: number;
} {
  let [token, best, next]: [number | null, number, number] = [null, -Infinity, -Infinity];
  for (let i = 0; i < logits.length; i++) {
    if (!Number.isFinite(logits[i]) || allowed?.(i) === false) continue;
    const key = temperature > 0 ? logits[i]! / temperature + gumbel(seed, counter, i) : logits[i]!;
    if (key > best) [token, best, next] = [i, key, best];
    else next = Math.max(next, key);
  }
  return { token, key: best, margin: best - next };
}

/** softmax(logits / temperature) */
export function softmax(logits: ArrayLike<number>, temperature = 1): Float64Array {
  const scaled = Float64Array.from(logits, (x) => x / temperature);
  const top = scaled.reduce((a, b) => Math.max(a, b), -Infinity);
  const weights = scaled.map((x) => Math.exp(x - top));
  const total = weights.reduce((a, b) => a + b, 0);
  return weights.map((w) => w / total);
}

/** ln softmax(logits)[token] */
export function logProbability(logits: ArrayLike<number>, token: number): number {
  let [top, total] = [-Infinity, 0];
  for (let i = 0; i < logits.length; i++) top = Math.max(top, logits[i]!);
  for (let i = 0; i < logits.length; i++) total += Math.exp(logits[i]! - top);
  return logits[token]! - top - Math.log(total);
}
