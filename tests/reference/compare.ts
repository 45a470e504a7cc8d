import { expect } from "vitest";

/** How far a result is from its reference. */
export interface Difference {
  /** Σ (a − b)² / Σ b²: the square of the relative error of the whole. */
  readonly nmse: number;
  /** Largest |a − b| over the largest |b|. */
  readonly largest: number;
}

/** Where the reference is zero everywhere, any other result is infinitely far. NaN anywhere gives NaN. */
export function difference(actual: ArrayLike<number>, expected: ArrayLike<number>): Difference {
  let [error, power, largest, magnitude] = [0, 0, 0, 0];
  for (let i = 0; i < expected.length; i++) {
    const d = Math.abs(actual[i]! - expected[i]!);
    error += d * d;
    power += expected[i]! ** 2;
    largest = Math.max(largest, d);
    magnitude = Math.max(magnitude, Math.abs(expected[i]!));
  }
  if (error === 0) return { nmse: 0, largest: 0 };
  return { nmse: error / power, largest: largest / magnitude };
}

/** The bounds that a kernel of f32 arithmetic keeps to on every device, far inside what the project asks for (1e-7). */
export const F32_BOUND: Difference = { nmse: 1e-10, largest: 3e-5 };

/** Results that were stored as f16: half a unit in the last of 11 bits. */
export const F16_BOUND: Difference = { nmse: 1e-6, largest: 2 ** -10 };

/** Asserts that two arrays are of one length and within the bound of each other. */
export function expectClose(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  bound: Difference = F32_BOUND,
): void {
  expect(actual.length).toBe(expected.length);
  const { nmse, largest } = difference(actual, expected);
  // Stated this way round so that NaN fails.
  expect({ nmse, ok: nmse <= bound.nmse }).toEqual({ nmse, ok: true });
  expect({ largest, ok: largest <= bound.largest }).toEqual({ largest, ok: true });
}
