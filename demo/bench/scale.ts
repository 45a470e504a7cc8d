/** Logarithmic axes of the roofline plot: pure arithmetic. */
export interface LogScale {
  /** Bounds, powers of ten or of two. */
  readonly from: number;
  readonly to: number;
  /** Where a value lies, in pixels. */
  at(value: number): number;
  readonly ticks: readonly number[];
}

/** An axis over the values, from pixel `start` to pixel `end`; ticks at powers of ten. */
export function logScale(values: readonly number[], start: number, end: number): LogScale {
  const positive = values.filter((v) => v > 0 && Number.isFinite(v));
  const low = Math.log10(Math.min(...positive, 1));
  const high = Math.log10(Math.max(...positive, 1));
  // A little room at both ends, and never less than two decades, so that one point is a plot too.
  const missing = Math.max(0, 2 - (high - low)) / 2;
  const [from, to] = [low - missing - 0.15, high + missing + 0.15];
  const ticks = [];
  for (let power = Math.ceil(from); power <= to; power++) ticks.push(10 ** power);
  const at = (value: number): number => start + ((Math.log10(value) - from) / (to - from)) * (end - start);
  return { from: 10 ** from, to: 10 ** to, at, ticks };
}

export interface Box {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

const overlap = (a: Box, b: Box): boolean =>
  a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;

/**
 * Where each label goes beside its point: the first of the places around it that meets neither an earlier label nor another
 * point; null where there is none. A label that is left out is still in its point's title.
 */
export function placeLabels(
  points: readonly { x: number; y: number; width: number }[],
  { radius = 5, height = 10 } = {},
): ({ x: number; y: number } | null)[] {
  const dots = points.map(({ x, y }): Box => ({ x: x - radius, y: y - radius, width: 2 * radius, height: 2 * radius }));
  const placed: Box[] = [];
  return points.map(({ x, y, width }, i) => {
    const places = [
      { x: x + radius + 2, y: y - height / 2 },
      { x: x - radius - 2 - width, y: y - height / 2 },
      { x: x - width / 2, y: y - radius - 1 - height },
      { x: x - width / 2, y: y + radius + 1 },
    ];
    for (const place of places) {
      const box = { ...place, width, height };
      if (placed.some((other) => overlap(box, other)) || dots.some((dot, j) => j !== i && overlap(box, dot))) continue;
      placed.push(box);
      return place;
    }
    return null;
  });
}
