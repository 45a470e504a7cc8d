/** Pages behind a window, one case at a time; scheduler.property.test.ts has what holds for all. */
import { describe, expect, it } from "vitest";
import { TooLargeError } from "../../src/base/errors.ts";
import { poolWindows } from "../../src/engine/cache.ts";
import { firstKept, firstSeen, windowPages } from "../../src/engine/paging.ts";
import { checkOutcome, PLAIN, ROOMY, World, type Wish } from "./world.ts";

const ids = (salt: number, length: number): number[] => Array.from({ length }, (_, i) => 100 * salt + i);
const wish = (change: Partial<Wish>): Wish => ({ ...PLAIN, ...change });

describe("places", () => {
  it("are seen from the window's first entry on, and kept for one who goes on from the last full page", () => {
    // Row 9 sees entries 4 … 9.
    expect([1, 2, 4, 8].map((pageSize) => firstSeen(9, 6, pageSize))).toEqual([4, 2, 1, 0]);
    expect(firstSeen(3, 6, 1)).toBe(0);
    expect(firstSeen(1000, Infinity, 4)).toBe(0);
    // After 9 entries in pages of 4 somebody may go on from entry 8, which sees entries 3 … 8.
    expect([8, 9, 12, 13].map((entries) => firstKept(entries, 6, 4))).toEqual([0, 0, 0, 1]);
  });

  it("are never more at a time than window and chunk take", () => {
    for (const [window, rows, pageSize] of [
      [1, 1, 1],
      [6, 4, 4],
      [7, 16, 4],
      [16, 8, 32],
      [33, 5, 8],
    ] as const) {
      let most = 0;
      for (let from = 1; from < 200; from++) {
        most = Math.max(most, Math.ceil((from + rows) / pageSize) - firstKept(from, window, pageSize));
      }
      expect(most).toBeLessThanOrEqual(windowPages(window, rows, pageSize));
      expect(most).toBeGreaterThanOrEqual(windowPages(window, rows, pageSize) - 1);
    }
  });
});

describe("pools", () => {
  const spec = { kind: "kv", heads: 1, headDim: 8 } as const;
  it("are one for each kind of layer that there is, where a window is shorter than the context", () => {
    const of = (...windows: (number | undefined)[]) => poolWindows({ ...spec, layers: windows.length, windows }, 100);
    expect(of(undefined, undefined)).toEqual([Infinity]);
    expect(of(16, 16)).toEqual([16]);
    expect(of(16, undefined, 24)).toEqual([Infinity, 24]);
    expect(of(100, undefined)).toEqual([Infinity]);
    expect(of(99, 100)).toEqual([Infinity, 99]);
    expect(poolWindows({ ...spec, layers: 2 }, 100)).toEqual([Infinity]);
  });
});

describe("a window", () => {
  it("lets go of what fell out of it, so that a small pool holds a long sequence", () => {
    const most = windowPages(6, 16, 4);
    for (const options of [
      { ...ROOMY, pages: most, window: 6 },
      { ...ROOMY, second: { pages: most, window: 6 } },
    ]) {
      const world = new World(options);
      const heard = world.add(wish({ ids: ids(1, 90), maxTokens: 40, temperature: 1, seed: 2 }))!;
      world.drain();
      checkOutcome(heard);
      expect(world.scheduler.counts.preemptions).toBe(0);
    }
  });

  it("is the least that a pool has to hold", () => {
    const options = { ...ROOMY, second: { pages: windowPages(6, 16, 4) - 1, window: 6 } };
    expect(() => new World(options).check(wish({ ids: ids(1, 90) }))).toThrow(TooLargeError);
    expect(() => new World(options).check(wish({ ids: ids(1, 15) }))).not.toThrow();
  });

  it("ends a hit where its pool has let go, though the other pool has all of it", () => {
    const world = new World({ ...ROOMY, rows: 4, second: { pages: 8, window: 6 } });
    const hitsOf = (salt: number, length: number): number => {
      const before = world.scheduler.counters.hitTokens;
      checkOutcome((world.add(wish({ ids: ids(salt, length), maxTokens: 1 })), world.drain(), world.heard.at(-1)!));
      return world.scheduler.counters.hitTokens - before;
    };
    expect([hitsOf(1, 21), hitsOf(1, 21)]).toEqual([0, 20]);
    // Five pages of the other, and eight in all: of the first, the pages behind its window were the first to go.
    expect([hitsOf(2, 17), hitsOf(1, 21)]).toEqual([0, 20]);
    expect(hitsOf(3, 60)).toBe(0);
    expect(world.pool.cached).toBeGreaterThan(20);
    expect(hitsOf(1, 21)).toBe(0);
    expect(hitsOf(1, 21)).toBe(20);
  });

  it("is no wider for a session that is restored after a hit", () => {
    const options = { ...ROOMY, pageSize: 1, rows: 2, readRows: 1, window: 12 };
    const from = new World({ ...options, pages: 200 });
    const saved = from.add(wish({ ids: ids(1, 40), kind: "save" }))!;
    from.drain();
    checkOutcome(saved, from.options);
    const there = new World({ ...options, pages: windowPages(12, 2, 1) });
    there.add(wish({ ids: ids(1, 31), maxTokens: 1 }));
    there.drain();
    const restored = there.restore(saved)!;
    there.drain();
    expect(restored.done).toBe(1);
    const again = there.add(wish({ ids: ids(1, 40) }))!;
    there.drain();
    checkOutcome(again);
    expect(there.scheduler.counters.hitTokens).toBe(39);
  });

  it("is seen through by forks, each with a copy of the page that is filled in part, in both pools", () => {
    const world = new World({ ...ROOMY, second: { pages: 30, window: 6 } });
    const heard = world.add(wish({ ids: ids(1, 18), n: 3, maxTokens: 20, temperature: 1 }))!;
    world.submit();
    const { batch } = world.submit()!;
    expect([batch.copies.length, batch.windowCopies!.length]).toEqual([2, 2]);
    world.drain();
    checkOutcome(heard);
    world.checkEmpty();
  });
});
