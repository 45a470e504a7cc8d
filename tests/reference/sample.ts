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

/** What the processors are given, for one row. */
export interface Processors {
  logits: ArrayLike<number>;
  /** Is the token in the prompt? How often was it drawn? */
  inPrompt?: (token: number) => boolean;
  drawn?: (token: number) => number;
  repetitionPenalty?: number;
  frequencyPenalty?: number;
  presencePenalty?: number;
  logitBias?: readonly (readonly [token: number, bias: number])[];
  allowed?: (token: number) => boolean;
}

/** Penalties, bias, mask, in this order: −∞ where a token is not allowed or its logit not finite. */
export function processReference({ logits, inPrompt, drawn, allowed, ...options }: Processors): Float64Array {
  const { repetitionPenalty = 1, frequencyPenalty = 0, presencePenalty = 0, logitBias = [] } = options;
  const bias = new Map(logitBias);
  return Float64Array.from(logits, (logit, token) => {
    if (!Number.isFinite(logit) || allowed?.(token) === false) return -Infinity;
    const count = drawn?.(token) ?? 0;
    let x = logit;
    if (inPrompt?.(token) || count > 0) x = x > 0 ? x / repetitionPenalty : x * repetitionPenalty;
    x -= frequencyPenalty * count + (count > 0 ? presencePenalty : 0);
    return x + (bias.get(token) ?? 0);
  });
}

export interface Filters {
  temperature: number;
  topK?: number;
  topP?: number;
  minP?: number;
}

/**
 * Which tokens top-k, top-p of what is left, and min-p keep of a row: the larger logit goes first, the lower id of equals. `margin` is how
 * far the decisions were from going otherwise: in probability for top-p, in its logarithm for min-p.
 */
export function filterReference(
  logits: ArrayLike<number>,
  { temperature, topK = 0, topP = 1, minP = 0 }: Filters,
): { kept: Set<number>; margin: number } {
  const order = Array.from({ length: logits.length }, (_, token) => token).filter((token) => logits[token]! > -1e30);
  order.sort((a, b) => logits[b]! - logits[a]! || a - b);
  if (topK > 0) order.length = Math.min(order.length, topK);
  const scaled = order.map((token) => (logits[token]! - logits[order[0]!]!) / temperature);
  const total = scaled.reduce((sum, x) => sum + Math.exp(x), 0);
  const kept = new Set<number>();
  let margin = Infinity;
  let before = 0;
  order.forEach((token, i) => {
    const inTopP = i === 0 || topP >= 1 || before / total < topP;
    if (topP < 1 && i > 0) margin = Math.min(margin, Math.abs(before / total - topP));
    // Equal logits are as probable as each other whatever the rounding.
    if (minP > 0 && scaled[i]! < 0) margin = Math.min(margin, Math.abs(scaled[i]! - Math.log(minP)));
    if (inTopP && scaled[i]! >= Math.log(minP)) kept.add(token);
    before += Math.exp(scaled[i]!);
  });
  return { kept, margin };
}

/**
 * Σ (observed − expected)² / expected, tokens expected fewer than five times taken together (Pearson 1900), and the limit that a fair
 * sampler passes once in a thousand tries (Wilson & Hilferty 1931).
 */
export function chiSquare(
  counts: readonly number[],
  probabilities: Float64Array,
  draws: number,
): { value: number; limit: number } {
  const cells: [number, number][] = [];
  const rest: [number, number] = [0, 0];
  counts.forEach((count, token) => {
    const expected = probabilities[token]! * draws;
    if (expected >= 5) cells.push([count, expected]);
    else [rest[0], rest[1]] = [rest[0] + count, rest[1] + expected];
  });
  if (rest[1] > 0) cells.push(rest);
  const value = cells.reduce((sum, [count, expected]) => sum + (count - expected) ** 2 / expected, 0);
  const df = cells.length - 1;
  return { value, limit: df * (1 - 2 / (9 * df) + 3.09 * Math.sqrt(2 / (9 * df))) ** 3 };
}
