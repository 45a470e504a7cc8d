/** An invariant of ours. A failure is a bug in Tessera, never the fault of an input. */
export function invariant(condition: unknown, message: string): asserts condition {
  if (!condition) bug(message);
}

/** Where an invariant of ours says that nobody gets. */
export function bug(message: string): never {
  throw new Error(`Tessera bug: ${message}`);
}

/** `x` rounded up to a multiple of `step`. */
export function roundUp(x: number, step: number): number {
  return Math.ceil(x / step) * step;
}

/** The smallest power of two ≥ x, for x ≥ 1. */
export function powerOfTwoAtLeast(x: number): number {
  let p = 1;
  while (p < x) p *= 2;
  return p;
}
