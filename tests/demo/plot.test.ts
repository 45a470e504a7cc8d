import { describe, expect, it } from "vitest";
import { logScale, placeLabels } from "../../demo/bench/scale.ts";

describe("a logarithmic axis", () => {
  it("puts equal factors at equal distances, and ticks at powers of ten", () => {
    const scale = logScale([0.5, 2000], 0, 100);
    expect(scale.at(10) - scale.at(1)).toBeCloseTo(scale.at(1000) - scale.at(100), 9);
    expect(scale.ticks).toEqual([1, 10, 100, 1000]);
    expect(scale.at(0.5)).toBeGreaterThan(0);
    expect(scale.at(2000)).toBeLessThan(100);
  });

  it("runs downwards too", () => {
    const scale = logScale([1, 100], 200, 20);
    expect(scale.at(100)).toBeLessThan(scale.at(1));
  });

  it.each([[[]], [[5]], [[0, -1, NaN, Infinity]]])("is an axis over %j", (values) => {
    const scale = logScale(values, 0, 100);
    expect(scale.to / scale.from).toBeGreaterThanOrEqual(100);
    expect(scale.ticks.length).toBeGreaterThanOrEqual(2);
    expect(Number.isFinite(scale.at(1))).toBe(true);
  });
});

describe("labels", () => {
  it("stand to the right of their point where nothing is in the way", () => {
    expect(placeLabels([{ x: 50, y: 50, width: 12 }])).toEqual([{ x: 57, y: 45 }]);
  });

  it("meet neither each other nor another point; what has no place is left out", () => {
    const points = Array.from({ length: 30 }, (_, i) => ({
      x: 50 + 3 * (i % 6),
      y: 50 + 3 * Math.floor(i / 6),
      width: 12,
    }));
    const places = placeLabels(points);
    const boxes = places.filter((p) => p !== null).map((p) => ({ ...p, width: 12, height: 10 }));
    expect(boxes.length).toBeGreaterThan(0);
    expect(places).toContain(null);
    boxes.forEach((a, i) =>
      boxes.slice(i + 1).forEach((b) => {
        expect(a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height).toBe(false);
      }),
    );
  });
});
