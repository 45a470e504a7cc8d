/** A straight line through evenly spaced samples. */
export interface Slope {
  /** Of the samples' unit, a sample. */
  slope: number;
  /** Standard error of the slope. */
  error: number;
}

/** Least squares; two samples or fewer have no error to speak of. */
export function slopeOf(samples: ArrayLike<number>): Slope {
  const n = samples.length;
  if (n < 3) return { slope: n === 2 ? samples[1]! - samples[0]! : 0, error: 0 };
  const values = Array.from(samples);
  const middle = (n - 1) / 2;
  const mean = values.reduce((sum, y) => sum + y, 0) / n;
  const spread = values.reduce((sum, _, x) => sum + (x - middle) ** 2, 0);
  const slope = values.reduce((sum, y, x) => sum + (x - middle) * (y - mean), 0) / spread;
  const rest = values.reduce((sum, y, x) => sum + (y - mean - slope * (x - middle)) ** 2, 0);
  return { slope, error: Math.sqrt(rest / (n - 2) / spread) };
}
