import { describe, expect, it } from "vitest";
import { median, quantile, slope } from "../../src/gpu/timing.ts";

/** A clock on which a pass costs `fixed` and each repeat `each` milliseconds; `noise` is added to the n-th pass. */
function machine(fixed: number, each: number, noise: (pass: number) => number = () => 0) {
  const passes: number[] = [];
  let now = 0;
  return {
    passes,
    now: () => now,
    time: (repeats: number): Promise<number> => {
      const ms = fixed + each * repeats + noise(passes.length);
      passes.push(repeats);
      now += ms;
      return Promise.resolve(ms);
    },
  };
}

describe("the slope", () => {
  it("is a repeat's time, whatever a pass costs by itself", async () => {
    for (const [fixed, each] of [
      [0, 0.01],
      [3, 0.01],
      [100, 2],
      [0.5, 37],
    ] as const) {
      const { time, now } = machine(fixed, each);
      const measured = await slope(time, { now });
      expect(measured.ms).toBeCloseTo(each, 9);
      expect(measured.spread).toBeCloseTo(0, 6);
      expect(measured.rounds).toBe(10);
    }
  });

  it("cancels a clock that drifts: every pass takes longer than the one before", async () => {
    const { time, now } = machine(1, 0.5, (pass) => 0.3 * pass);
    expect((await slope(time, { now })).ms).toBeCloseTo(0.5, 9);
  });

  it("goes R, 2R, 2R, R, once a pass takes as long as is asked for", async () => {
    const { time, now, passes } = machine(0, 0.25);
    const { repeats } = await slope(time, { now, rounds: 2, passMs: 10 });
    expect(repeats * 0.25).toBeGreaterThanOrEqual(10);
    expect(passes.slice(-8)).toEqual([1, 2, 2, 1, 1, 2, 2, 1].map((n) => n * repeats));
  });

  it("takes the median: one pass that was interrupted changes nothing", async () => {
    for (let interrupted = 0; interrupted < 40; interrupted++) {
      const { time, now } = machine(1, 2, (pass) => (pass === interrupted ? 1000 : 0));
      expect((await slope(time, { now })).ms).toBeCloseTo(2, 9);
    }
  });

  it("tells its spread", async () => {
    const { time, now } = machine(0, 10, (pass) => (pass % 8 < 4 ? 0 : pass % 4 === 2 ? 2 : 0));
    const { ms, spread } = await slope(time, { now, rounds: 12 });
    expect(spread).toBeGreaterThan(0);
    expect(spread * ms).toBeLessThan(3);
  });

  it("is the least whole pass over its repeats where noise leaves no slope", async () => {
    const shrinking = machine(200, -1);
    const measured = await slope(shrinking.time, { now: shrinking.now, passMs: 10 });
    expect(measured.ms).toBe(198 / 2);
  });

  it("is not negative, and stops where a clock never moves", async () => {
    const { time, now, passes } = machine(0, 0);
    const measured = await slope(time, { now, maxRepeats: 64 });
    expect(measured).toMatchObject({ ms: 0, spread: 0, repeats: 64 });
    expect(Math.max(...passes)).toBe(128);
  });

  it("keeps to its budget, but makes one round", async () => {
    const slow = machine(0, 100);
    expect((await slope(slow.time, { now: slow.now, budgetMs: 1 })).rounds).toBe(1);
    const some = machine(0, 10);
    expect((await slope(some.time, { now: some.now, budgetMs: 200 })).rounds).toBeLessThan(6);
  });
});

describe("quantiles", () => {
  it.each([
    [[3], 3],
    [[1, 2], 1.5],
    [[9, 1, 5], 5],
    [[4, 1, 3, 2], 2.5],
  ])("the median of %j is %d", (values, expected) => {
    expect(median(values)).toBe(expected);
  });

  it("lie between neighbours, and are NaN of nothing", () => {
    expect(quantile([0, 10, 20, 30], 0.25)).toBe(7.5);
    expect(quantile([0, 10], 1)).toBe(10);
    expect(median([])).toBeNaN();
  });
});
