/**
 * y = x · Wᵀ in float64, with what the kernel fuses: RMSNorm (Zhang & Sennrich 2019), activations and gates (Shazeer 2020;
 * Hendrycks & Gimpel 2016; So et al. 2021), soft-cap, scale, sums.
 */
export interface LinearReference {
  /** [rows, columns] */
  x: ArrayLike<number>;
  /** [out, columns], as it comes back from storage */
  weights: ArrayLike<number>;
  columns: number;
  /** Rows of x, in the order of the result; all of them in turn where absent. */
  rows?: readonly number[];
  norm?: { gain: ArrayLike<number>; eps: number; offset?: number };
  /** [out] */
  bias?: ArrayLike<number>;
  /** A key of ACTIVATIONS. */
  activation?: string;
  /** Weight rows 2j and 2j + 1 are gate and up: a key of ACTIVATIONS, or "swiglu-clamped". */
  gate?: string;
  /** The same as gate: "silu". */
  swiglu?: boolean;
  limit?: number;
  softCap?: number;
  scale?: number;
  /** [rows, width] */
  residual?: ArrayLike<number>;
}

/** [rows, width], width being the weight's rows, or half of them with a gate. */
export function linearReference(given: LinearReference): Float64Array {
  const { x, weights, columns, norm, bias, residual, softCap, scale = 1 } = given;
  const gate = given.gate ?? (given.swiglu ? "silu" : undefined);
  const rows = given.rows ?? Array.from({ length: x.length / columns }, (_, i) => i);
  const out = weights.length / columns;
  const width = gate ? out / 2 : out;
  const act = ACTIVATIONS[given.activation ?? "none"]!;
  const result = new Float64Array(rows.length * width);
  rows.forEach((row, m) => {
    const input = normalised(
      Float64Array.from({ length: columns }, (_, k) => x[row * columns + k]!),
      norm,
    );
    const y = Float64Array.from({ length: out }, (_, n) => {
      let sum = bias?.[n] ?? 0;
      for (let k = 0; k < columns; k++) sum += input[k]! * weights[n * columns + k]!;
      return sum;
    });
    for (let n = 0; n < width; n++) {
      let value = gate ? gated(gate, y[2 * n]!, y[2 * n + 1]!, given.limit ?? 0) : act(y[n]!);
      if (softCap !== undefined) value = softCap * Math.tanh(value / softCap);
      result[m * width + n] = scale * value + (residual?.[m * width + n] ?? 0);
    }
  });
  return result;
}

function normalised(x: Float64Array, norm: LinearReference["norm"]): Float64Array {
  if (!norm) return x;
  const mean = x.reduce((sum, v) => sum + v * v, 0) / x.length;
  const factor = 1 / Math.sqrt(mean + norm.eps);
  return x.map((v, k) => v * factor * (norm.gain[k]! + (norm.offset ?? 0)));
}

export const ACTIVATIONS: Readonly<Record<string, (x: number) => number>> = {
  none: (x) => x,
  silu: (x) => x / (1 + Math.exp(-x)),
  "gelu-tanh": (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
  "gelu-erf": (x) => 0.5 * x * (1 + erf(x / Math.SQRT2)),
  relu: (x) => Math.max(x, 0),
  relu2: (x) => Math.max(x, 0) ** 2,
};

function gated(gate: string, g: number, up: number, limit: number): number {
  if (gate !== "swiglu-clamped") return ACTIVATIONS[gate]!(g) * up;
  const cut = Math.min(g, limit);
  return (cut / (1 + Math.exp(-1.702 * cut))) * (Math.max(-limit, Math.min(limit, up)) + 1);
}

/** By its Taylor series near zero and the continued fraction of erfc further out (Abramowitz & Stegun 7.1.5, 7.1.14). */
export function erf(x: number): number {
  const z = Math.abs(x);
  if (z > 6) return Math.sign(x);
  if (z < 2.5) {
    let [term, sum] = [x, x];
    for (let n = 1; n < 80; n++) {
      term *= -(x * x) / n;
      sum += term / (2 * n + 1);
    }
    return (2 / Math.sqrt(Math.PI)) * sum;
  }
  let fraction = z;
  for (let n = 120; n > 0; n--) fraction = z + n / 2 / fraction;
  return Math.sign(x) * (1 - Math.exp(-z * z) / (Math.sqrt(Math.PI) * fraction));
}
