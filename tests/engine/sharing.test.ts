/** Prefix sharing, preemption and priorities, one case at a time; scheduler.property.test.ts has what holds for all. */
import { describe, expect, it } from "vitest";
import { ArgumentError, TooLargeError } from "../../src/base/errors.ts";
import { END } from "./fake-gpu.ts";
import { alone, checkOutcome, PLAIN, ROOMY, World, type Wish } from "./world.ts";

/** Ids that no other call has at the same place. */
const ids = (salt: number, length: number): number[] => Array.from({ length }, (_, i) => 100 * salt + i);
const wish = (change: Partial<Wish>): Wish => ({ ...PLAIN, ...change });
const hits = (world: World): number => world.scheduler.counters.hitTokens;

describe("prefix sharing", () => {
  it("finds full pages of a prompt, and leaves a row to compute", () => {
    const world = new World(ROOMY); // pages of 4
    world.add(wish({ ids: ids(1, 11) }));
    world.drain();
    expect(world.pool.cached).toBeGreaterThanOrEqual(2);
    const step = (length: number) => {
      world.add(wish({ ids: ids(1, length), maxTokens: 1 }));
      const { setups, rows } = world.submit()!;
      world.drain();
      return [setups[0]!.length, rows];
    };
    expect([12, 9, 8, 5, 4, 1].map(step)).toEqual([
      [8, 4],
      [8, 1],
      [4, 4],
      [4, 1],
      [0, 4],
      [0, 1],
    ]);
  });

  it("shares with a request that is still prefilling, in the same step and after", () => {
    const world = new World(ROOMY); // 16 rows a step
    const prompt = ids(2, 24);
    const first = world.add(wish({ ids: prompt }));
    const second = world.add(wish({ ids: [...prompt.slice(0, 17), 5] }));
    expect(world.submit()!.rows).toBe(16);
    const step = world.submit()!;
    // Eight rows are left of the first; the second has its four pages from the step before, and computes two rows.
    expect(step.batch.segments.map((s) => s.tokens?.length)).toEqual([8, 2]);
    expect(world.pool.shared).toBe(4);
    const third = world.add(wish({ ids: prompt }));
    expect(world.submit()!.batch.segments.map((s) => s.tokens?.length ?? "decode")).toEqual(["decode", "decode", 4]);
    world.drain();
    [first!, second!, third!].forEach((heard) => checkOutcome(heard));
    expect(hits(world)).toBe(16 + 20);
  });

  it("finds tokens that were generated once they have been received, and none past the end", () => {
    const world = new World(ROOMY);
    // A seed under which the model ends, with steps under way past the end.
    const ends = (seed: number) => alone(wish({ ids: ids(3, 6), temperature: 1, seed, maxTokens: 60 })).tokens[0]!;
    const seed = Array.from({ length: 1000 }, (_, i) => i).find((i) => ends(i).length > 8 && ends(i).length < 60)!;
    const answer = ends(seed);
    world.add(wish({ ids: ids(3, 6), temperature: 1, seed, maxTokens: 60 }));
    world.drain();
    const known = 6 + answer.length;
    expect(world.pool.cached).toBe(Math.floor(known / 4));
    world.add(wish({ ids: [...ids(3, 6), ...answer, END, 1, 2, 3, 4, 5] }));
    world.drain();
    expect(hits(world)).toBe(Math.floor(known / 4) * 4);
  });

  it("keeps salts apart, of requests and of engines", () => {
    const world = new World({ ...ROOMY, salt: "q4 f16" });
    for (const salt of ["", "adapter", "", "adapter"]) {
      world.add(wish({ ids: ids(4, 9), salt }));
      world.drain();
    }
    expect(hits(world)).toBe(2 * 8);
  });

  it("keeps a page that two have computed once", () => {
    const world = new World(ROOMY);
    for (let i = 0; i < 3; i++) {
      world.add(wish({ ids: ids(6, 8), maxTokens: 1 })); // the second page has the last row, so it is computed anew
      world.drain();
      expect(world.pool.cached).toBe(2);
    }
  });

  it("skips no row whose logits are wanted", () => {
    const world = new World(ROOMY);
    world.add(wish({ ids: ids(5, 20) }));
    world.drain();
    const rows = (change: Partial<Wish>): number => {
      const before = world.scheduler.counters.prefillRows;
      const heard = world.add(wish({ ids: ids(5, 20), ...change }))!;
      world.drain();
      checkOutcome(heard);
      return world.scheduler.counters.prefillRows - before;
    };
    expect(rows({ kind: "logits", from: 19 })).toBe(4);
    expect(rows({ kind: "logits", from: 9 })).toBe(12);
    expect(rows({ kind: "logits", from: 0 })).toBe(20);
    expect(rows({ kind: "score" })).toBe(19); // the last id has no next one
  });

  it("gives the oldest cached page away first, the end of a chain before its beginning", () => {
    const world = new World({ ...ROOMY, pages: 7 });
    const chain = (salt: number) => world.add(wish({ ids: ids(salt, 9), maxTokens: 1 }));
    for (const salt of [1, 2, 1, 3]) {
      chain(salt);
      world.drain();
    }
    expect([world.pool.cached, hits(world)]).toEqual([6, 8]);
    world.add(wish({ ids: ids(4, 8), maxTokens: 1 })); // two pages: the free one, and the second of chain 2
    world.drain();
    const found = (salt: number) => {
      const before = hits(world);
      chain(salt);
      world.drain();
      return hits(world) - before;
    };
    expect(found(2)).toBe(4);
  });
});

describe("preemption", () => {
  it("takes the last in order, with its forks, and lets it go on later", () => {
    const world = new World({ ...ROOMY, pages: 7, depth: 1 });
    const first = world.add(wish({ ids: ids(1, 4), maxTokens: 17, temperature: 0 }))!; // 5 pages
    const second = world.add(wish({ ids: ids(2, 4), maxTokens: 8, n: 2 }))!; // 5 pages
    world.drain();
    [first, second].forEach((heard) => checkOutcome(heard));
    if (alone(first.wish).tokens[0]!.length === 17) expect(world.scheduler.counts.preemptions).toBeGreaterThan(0);
    world.checkEmpty();
  });

  it("is for who comes before: nobody is preempted for one that came later", () => {
    const world = new World({ ...ROOMY, pages: 6, slots: 2 });
    world.add(wish({ ids: ids(1, 8), maxTokens: 8 }));
    world.submit();
    const later = world.add(wish({ ids: ids(2, 20), maxTokens: 1 }))!;
    while (later.done === 0) {
      if (!world.submit()) world.deliver();
      expect(world.scheduler.counts.preemptions).toBe(0);
    }
  });

  it("makes room for a higher priority at once, and for an equal one never", () => {
    const world = new World({ ...ROOMY, slots: 1 });
    const low = world.add(wish({ ids: ids(1, 4), maxTokens: 12 }))!;
    const expected = alone(low.wish);
    world.submit();
    const equal = world.add(wish({ ids: ids(2, 4) }))!;
    const high = world.add(wish({ ids: ids(3, 4), priority: 1 }))!;
    const ended: unknown[] = [];
    while (!world.scheduler.idle) {
      if (!world.submit()) world.deliver();
      for (const h of [low, equal, high]) if (h.done && !ended.includes(h)) ended.push(h);
    }
    expect(ended).toEqual([high, low, equal]);
    expect(world.scheduler.counts.preemptions).toBe(1);
    expect(low.tokens).toEqual(expected.tokens);
  });
});

describe("limits", () => {
  const refused = (change: Partial<Wish>) => () => new World({ ...ROOMY, pages: 8 }).check(wish(change));
  it("refuses what could never run, with a typed error", () => {
    expect(refused({ n: 5 })).toThrow(ArgumentError);
    expect(refused({ n: 0 })).toThrow(ArgumentError);
    expect(refused({ n: 1.5 })).toThrow(ArgumentError);
    expect(refused({ priority: NaN })).toThrow(ArgumentError);
    expect(refused({ ids: [] })).toThrow(ArgumentError);
    expect(refused({ ids: [1], kind: "score" })).toThrow(ArgumentError);
    expect(refused({ maxTokens: 0 })).toThrow(ArgumentError);
    expect(refused({ ids: ids(1, 33), maxTokens: 1 })).toThrow(TooLargeError);
    expect(refused({ ids: ids(1, 6), maxTokens: 12, n: 3 })).toThrow(TooLargeError); // 5 + 4 + 4 pages
    expect(refused({ ids: ids(1, 32), maxTokens: 1 })).not.toThrow();
  });

  it("runs alone whatever it does not refuse, n at a time", () => {
    for (let length = 1; length < 30; length++) {
      for (let n = 1; n <= 4; n++) {
        const world = new World({ ...ROOMY, pages: 8 });
        const heard = world.add(wish({ ids: ids(1, length), maxTokens: 6, n }));
        world.drain();
        if (heard) checkOutcome(heard);
      }
    }
  });

  it("lets another choice prefill when the first is cancelled on the way", () => {
    const world = new World({ ...ROOMY, rows: 4 });
    const heard = world.add(wish({ ids: ids(1, 14), n: 3, temperature: 1 }))!;
    world.submit();
    world.submit();
    world.cancel(0, 0);
    world.drain();
    checkOutcome(heard);
    expect(heard.finished.slice(1)).not.toContain("abort");
  });
});
