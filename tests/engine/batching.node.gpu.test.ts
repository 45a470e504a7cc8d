/**
 * The same tokens whatever the engine does with a request: page size, chunks, steps under way, company, a prefix hit or a miss,
 * preemption, forks. What is expected comes from the goldens, or from one engine that runs each request alone.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { InProcessEngine } from "../../src/engine/engine.ts";
import type { EngineTuning } from "../../src/engine/load.ts";
import type { SamplingOptions } from "../../src/engine/port.ts";
import { fixtureSource } from "../support/fixtures.ts";
import { goldenCheckpoints, load, untilEnd, type GoldenCase } from "./checkpoints.ts";

const TINY = "tests/fixtures/llama/untied-f32";
const silent = (): void => undefined;
const VOCAB = 208;

/** Ids without meaning, the same for the same seed. */
function idsOf(seed: number, length: number): number[] {
  let state = seed + 1;
  return Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return 2 + ((state >>> 8) % (VOCAB - 2));
  });
}

interface Wanted {
  ids: number[];
  options: SamplingOptions;
}

const PREFIX = idsOf(1, 70);
const greedy = (ids: number[], maxTokens = 16, n = 1): Wanted => ({ ids, options: { temperature: 0, maxTokens, n } });
const drawn = (ids: number[], seed: number, maxTokens = 16, n = 1): Wanted => ({
  ids,
  options: { temperature: 1, seed, maxTokens, n },
});

/** Prompts of one beginning and of their own, on both sides of a page's end, greedy and drawn, with and without forks. */
const CROWD: Wanted[] = [
  greedy(PREFIX.slice(0, 31)),
  greedy([...PREFIX, ...idsOf(2, 10)]),
  drawn([...PREFIX, ...idsOf(3, 26)], 5), // three pages of 32, to the last entry
  drawn(PREFIX.slice(0, 64), 6, 20),
  greedy([...PREFIX.slice(0, 33), ...idsOf(4, 4)], 12, 3),
  drawn([...PREFIX, 9], 7, 14, 2),
  greedy(idsOf(5, 3), 40),
  drawn(idsOf(6, 1), 8, 10, 2),
];

const run = async (engine: InProcessEngine, { ids, options }: Wanted): Promise<number[][]> =>
  (await engine.generate(ids, options, silent)).choices.map((c) => c.ids);

describe("the same tokens", () => {
  /** What each request gives on an engine of its own kind, alone, and without a prefix to hit. */
  let expected: number[][][];
  let golden: GoldenCase[];

  beforeAll(async () => {
    golden = await goldenCheckpoints()
      .find(({ name }) => name === "untied-f32")!
      .read();
    const engine = await load(fixtureSource(TINY), {}, { lookAhead: 1, pageSize: 128 });
    expected = [];
    for (const wanted of CROWD) expected.push(await run(engine, wanted));
    // Pages of 128 are never full here, so nothing was shared.
    expect(engine.stats().prefix).toEqual({ hitTokens: 0, cachedPages: 0 });
    await engine.dispose();
  });

  const KNOBS: [name: string, tuning: EngineTuning][] = [
    ["pages of 32", { pageSize: 32 }],
    ["pages of 64", { pageSize: 64 }],
    ["pages of 128, another order of pages", { pageSize: 128, pageSeed: 3 }],
    ["chunks of 8 rows", { pageSize: 32, maxRows: 8 }],
    ["chunks of 16 rows, two slots", { pageSize: 32, maxRows: 16, slots: 3 }],
    ["chunks of 128 rows", { pageSize: 64, maxRows: 128 }],
    ["no look-ahead", { pageSize: 32, lookAhead: 1 }],
    ["two steps under way", { pageSize: 32, lookAhead: 2 }],
    ["eight steps under way", { pageSize: 32, lookAhead: 8 }],
    ["a pool that holds one context, so that some are preempted", { pageSize: 32, poolTokens: 256 }],
    ["the same, with chunks of 8 and eight steps", { pageSize: 32, poolTokens: 256, maxRows: 8, lookAhead: 8 }],
    ["sixteen slots", { pageSize: 32, slots: 16 }],
  ];

  describe.each(KNOBS)("%s", (_, tuning) => {
    let engine: InProcessEngine;
    beforeAll(async () => {
      engine = await load(fixtureSource(TINY), {}, tuning);
    });
    afterAll(() => engine.dispose());

    it("together, and again from what is cached", async () => {
      const together = () => Promise.all(CROWD.map((wanted) => run(engine, wanted)));
      expect(await together()).toEqual(expected);
      const before = engine.stats();
      expect(await together()).toEqual(expected);
      const { prefix, pages } = engine.stats();
      expect(pages.used).toBe(0);
      // All but the rows after the last full page: most of the prompts, where pages are small enough to be full.
      if (tuning.pageSize === 32 && !tuning.poolTokens) {
        expect(prefix.hitTokens - before.prefix.hitTokens).toBeGreaterThanOrEqual(32 * 6);
      }
    });

    it("as the golden does", async () => {
      const { ids, greedy: all } = golden[0]!;
      const { ids: got } = await engine.generate(ids, { temperature: 0, maxTokens: 24 }, silent);
      expect(got).toEqual(untilEnd(all, engine.info.eosIds).slice(0, 24));
    });
  });
});

describe("a prefix", () => {
  let engine: InProcessEngine;
  beforeAll(async () => {
    engine = await load(fixtureSource(TINY), {}, { pageSize: 32 });
  });
  afterAll(() => engine.dispose());
  const hitsOf = async (work: () => Promise<unknown>): Promise<number> => {
    const before = engine.stats().prefix.hitTokens;
    await work();
    return engine.stats().prefix.hitTokens - before;
  };

  it("is shared while the first is still prefilling", async () => {
    const ids = idsOf(20, 100);
    const wanted = [greedy(ids), greedy([...ids.slice(0, 64), 5]), greedy(ids)];
    let results: number[][][] = [];
    const hits = await hitsOf(async () => {
      results = await Promise.all(wanted.map((w) => run(engine, w)));
    });
    expect(hits).toBe(64 + 96);
    expect(results[2]).toEqual(results[0]);
    expect(await run(engine, wanted[1]!)).toEqual(results[1]);
  });

  it("reaches into what was generated, as the next turn of a chat does", async () => {
    const first = idsOf(21, 30);
    const [answer] = await run(engine, greedy(first, 40));
    const turn = [...first, ...answer!, ...idsOf(22, 5)];
    const entries = first.length + answer!.length;
    const hits = await hitsOf(() => run(engine, greedy(turn)));
    expect(hits).toBe(Math.floor((entries - 1) / 32) * 32);
  });

  it("leaves one row at least to compute, and ends where the ids differ", async () => {
    const ids = idsOf(23, 64);
    const [all] = await run(engine, greedy(ids));
    let again: number[][] = [];
    expect(await hitsOf(async () => void (again = await run(engine, greedy(ids))))).toBe(32);
    expect(again).toEqual([all]);
    const other = ids.with(40, (ids[40]! + 1) % VOCAB);
    expect(await hitsOf(() => run(engine, greedy([...other, 3])))).toBe(32);
    const early = ids.with(0, (ids[0]! + 1) % VOCAB);
    expect(await hitsOf(() => run(engine, greedy(early)))).toBe(0);
  });

  it("does not change logits or scores", async () => {
    const ids = idsOf(24, 80);
    const scores = await engine.score(ids);
    const cold = await engine.logits(ids, [70, 80]);
    let warm = new Float32Array();
    const hits = await hitsOf(async () => {
      warm = (await engine.logits(ids, [70, 80])) as typeof warm;
    });
    expect(hits).toBe(64);
    expect(warm).toHaveLength(cold.length);
    expect(warm.reduce((worst, x, i) => Math.max(worst, Math.abs(x - cold[i]!)), 0)).toBeLessThan(1e-5);
    expect(await engine.score(ids)).toEqual(scores);
  });

  it("survives the caller's changes to his own list", async () => {
    const ids = idsOf(25, 70);
    const [all] = await run(engine, greedy([...ids]));
    const mine = [...ids];
    const generating = run(engine, greedy(mine));
    mine.fill(4);
    expect(await generating).toEqual([all]);
    expect(await run(engine, greedy([...ids]))).toEqual([all]);
  });
});

describe("a pool too small for all", () => {
  it("preempts, computes again, and gives the tokens that would have come", async () => {
    const tuning = { pageSize: 32, lookAhead: 3, slots: 6 };
    const wanted = Array.from({ length: 6 }, (_, i) => drawn(idsOf(30 + i, 20 + i), i, 90, i === 2 ? 2 : 1)).slice(
      0,
      5,
    );
    const roomy = await load(fixtureSource(TINY), {}, { ...tuning, poolTokens: 4096 });
    const expected = [];
    for (const w of wanted) expected.push(await run(roomy, w));
    expect(roomy.stats().preemptions).toBe(0);
    await roomy.dispose();
    const tight = await load(fixtureSource(TINY), {}, { ...tuning, poolTokens: 256 });
    expect(tight.stats().pages.total).toBe(8);
    expect(await Promise.all(wanted.map((w) => run(tight, w)))).toEqual(expected);
    const { preemptions, pages } = tight.stats();
    expect(preemptions).toBeGreaterThan(0);
    expect(pages.used).toBe(0);
    await tight.dispose();
  });

  it("gives pages and bytes back after 200 requests with cancels at any moment", async () => {
    const engine = await load(fixtureSource(TINY), {}, { pageSize: 32, poolTokens: 256, slots: 4 });
    const { gpuBytes } = engine.stats();
    const random = idsOf(77, 4000);
    const next = (below: number): number => random.pop()! % below;
    const running: Promise<unknown>[] = [];
    for (let i = 0; i < 200; i++) {
      const controller = new AbortController();
      const ids = [...PREFIX.slice(0, next(60)), ...idsOf(i % 7, 1 + next(20))];
      const stopAt = next(3) === 0 ? next(6) : 100;
      const onDelta = (): void => {
        if (++heard > stopAt) controller.abort();
      };
      let heard = 0;
      if (stopAt === 0) setTimeout(() => controller.abort(), next(20));
      const options = { temperature: next(2), seed: i, maxTokens: 1 + next(12), n: 1 + (next(4) === 0 ? 1 : 0) };
      running.push(engine.generate(ids, options, onDelta, controller.signal));
      if (i % 25 === 0) running.push(engine.score(ids.length > 1 ? ids : [1, 2]));
      if (running.length >= 12) await running.shift();
    }
    await Promise.all(running);
    const { pages, running: left, waiting, gpuBytes: after } = engine.stats();
    expect([pages.used, pages.shared, left, waiting]).toEqual([0, 0, 0, 0]);
    expect(after).toEqual(gpuBytes);
    await engine.dispose();
    expect(engine.gpu.arena.bytes).toBe(0);
  });
});
