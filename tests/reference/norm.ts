/** A norm in float64: RMSNorm (Zhang & Sennrich 2019) or LayerNorm (Ba et al. 2016). */
export interface NormReference {
  kind: "rms" | "layer";
  eps: number;
  /** [width], one for each element; ones where absent. */
  gain?: ArrayLike<number>;
  bias?: ArrayLike<number>;
  /** Added to every gain. */
  offset?: number;
}

export function normReference(
  x: ArrayLike<number>,
  { kind, eps, gain, bias, offset = 0 }: NormReference,
): Float64Array {
  const values = Float64Array.from(x);
  const mean = kind === "layer" ? values.reduce((sum, v) => sum + v, 0) / values.length : 0;
  const power = values.reduce((sum, v) => sum + (v - mean) ** 2, 0) / values.length;
  const factor = 1 / Math.sqrt(power + eps);
  return values.map((v, k) => (v - mean) * factor * ((gain ? gain[k]! : 1) + offset) + (bias?.[k] ?? 0));
}
