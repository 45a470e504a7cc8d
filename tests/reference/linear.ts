/** y = x · Wᵀ in float64, with what the kernel fuses: RMSNorm (Zhang & Sennrich 2019), SwiGLU (Shazeer 2020), sums. */
export interface LinearReference {
  /** [rows, columns] */
  x: ArrayLike<number>;
  /** [out, columns], as it comes back from storage */
  weights: ArrayLike<number>;
  columns: number;
  /** Rows of x, in the order of the result; all of them in turn where absent. */
  rows?: readonly number[];
  norm?: { gain: ArrayLike<number>; eps: number };
  /** [out] */
  bias?: ArrayLike<number>;
  /** Weight rows 2j and 2j + 1 are gate and up. */
  swiglu?: boolean;
  /** [rows, width] */
  residual?: ArrayLike<number>;
}

/** [rows, width], width being the weight's rows, or half of them with `swiglu`. */
export function linearReference(given: LinearReference): Float64Array {
  const { x, weights, columns, norm, bias, swiglu, residual } = given;
  const rows = given.rows ?? Array.from({ length: x.length / columns }, (_, i) => i);
  const out = weights.length / columns;
  const width = swiglu ? out / 2 : out;
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
      const value = swiglu ? silu(y[2 * n]!) * y[2 * n + 1]! : y[n]!;
      result[m * width + n] = value + (residual?.[m * width + n] ?? 0);
    }
  });
  return result;
}

function normalised(x: Float64Array, norm: LinearReference["norm"]): Float64Array {
  if (!norm) return x;
  const mean = x.reduce((sum, v) => sum + v * v, 0) / x.length;
  const factor = 1 / Math.sqrt(mean + norm.eps);
  return x.map((v, k) => v * factor * norm.gain[k]!);
}

function silu(x: number): number {
  return x / (1 + Math.exp(-x));
}
