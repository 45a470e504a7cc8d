import { describe, expect, it } from "vitest";
import { leaks, randomOf, type SoakReport } from "./soak.ts";
import { slopeOf } from "./slope.ts";

describe("slopeOf", () => {
  it("finds a line through noise, and how sure it is", () => {
    expect(slopeOf([7, 9, 11, 13])).toEqual({ slope: 2, error: 0 });
    const random = randomOf(3);
    const noisy = Array.from({ length: 400 }, (_, i) => 5 * i + random(1001) - 500);
    const { slope, error } = slopeOf(noisy);
    // The error of a uniform distribution of width 1000 over 400 samples: 289 / √(400³ / 12).
    expect(error).toBeGreaterThan(0.1);
    expect(error).toBeLessThan(0.15);
    expect(Math.abs(slope - 5)).toBeLessThan(3 * error);
  });

  it("takes few samples for what they are", () => {
    expect(slopeOf([])).toEqual({ slope: 0, error: 0 });
    expect(slopeOf([4])).toEqual({ slope: 0, error: 0 });
    expect(slopeOf([4, 9])).toEqual({ slope: 5, error: 0 });
  });
});

describe("leaks", () => {
  const bytes = { total: 8, byKind: { kv: 8 } };
  const clean: SoakReport = {
    requests: 9,
    kinds: {},
    cancelled: 0,
    tokens: 0,
    preemptions: 0,
    hitTokens: 0,
    before: bytes,
    after: { total: 8, byKind: { kv: 8 } },
    left: { used: 0, shared: 0, running: 0, waiting: 0 },
    heap: { slope: 900, error: 1 },
  };
  const cases: [what: string, change: Partial<SoakReport>, says: RegExp[]][] = [
    ["nothing", {}, []],
    ["noise", { heap: { slope: 9000, error: 4000 } }, []],
    ["heap", { heap: { slope: 9000, error: 1000 } }, [/grows by 9000 ± 1000/]],
    ["pages", { left: { ...clean.left, used: 2, shared: 1 } }, [/used: 2/, /shared: 1/]],
    ["bytes", { after: { total: 12, byKind: { kv: 8, state: 4 } } }, [/GPU bytes .*12.*before .*8/]],
    ["requests", { requests: 8 }, [/8 of 9/]],
  ];
  it.each(cases)("%s", (_, change, says) => {
    const found = leaks({ ...clean, ...change }, 9);
    expect(found).toHaveLength(says.length);
    says.forEach((pattern, i) => expect(found[i]).toMatch(pattern));
  });
});
