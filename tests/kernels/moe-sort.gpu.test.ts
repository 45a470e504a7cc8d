import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { sortByExpert } from "../../src/kernels/experts.ts";
import { route } from "../../src/kernels/router.ts";
import { Random } from "../reference/random.ts";
import { KernelBench, UNTOUCHED } from "../support/kernel-bench.ts";

const NO_PAIR = 0xffffffff;

interface Case {
  tokens: number;
  topK: number;
  slots: number;
  /** The slot of a pair. */
  slotOf?: (pair: number, random: Random) => number;
  recorded?: number;
}

const CASES: [name: string, c: Case][] = [
  ["one pair", { tokens: 1, topK: 1, slots: 4 }],
  ["one expert, a block", { tokens: 32, topK: 1, slots: 1 }],
  ["one expert, a block and one", { tokens: 33, topK: 1, slots: 1 }],
  ["one expert, one short of a block", { tokens: 31, topK: 1, slots: 1 }],
  ["blocks of 16, full", { tokens: 16, topK: 1, slots: 2, slotOf: () => 1 }],
  ["blocks of 16, one more", { tokens: 17, topK: 1, slots: 2, slotOf: () => 0 }],
  ["all on the last", { tokens: 200, topK: 2, slots: 60, slotOf: () => 59 }],
  ["in turn", { tokens: 100, topK: 2, slots: 8, slotOf: (p) => p % 8 }],
  ["backwards", { tokens: 100, topK: 2, slots: 8, slotOf: (p) => 7 - (p % 8) }],
  ["anywhere", { tokens: 256, topK: 8, slots: 256 }],
  ["most", { tokens: 1024, topK: 8, slots: 256 }],
  ["512 slots", { tokens: 40, topK: 4, slots: 512 }],
  ["257 slots, the last ones", { tokens: 40, topK: 4, slots: 257, slotOf: (p) => 256 - (p % 3) }],
  ...[15, 16, 17, 31, 32, 33].map((tokens): [string, Case] => [
    `${tokens} pairs of one slot`,
    { tokens, topK: 1, slots: 4, slotOf: () => 2 },
  ]),
  ["512 slots, each once", { tokens: 128, topK: 4, slots: 512, slotOf: (p) => p }],
  ["511 pairs", { tokens: 511, topK: 1, slots: 9 }],
  ["512 pairs", { tokens: 256, topK: 2, slots: 9 }],
  ["513 pairs", { tokens: 171, topK: 3, slots: 9 }],
  ["255 pairs", { tokens: 255, topK: 1, slots: 3 }],
  ["256 pairs", { tokens: 256, topK: 1, slots: 3 }],
  ["257 pairs", { tokens: 257, topK: 1, slots: 3 }],
  ["some that are nowhere", { tokens: 90, topK: 3, slots: 5, slotOf: (p, r) => (p % 7 === 0 ? NO_PAIR : r.below(5)) }],
  ["all nowhere", { tokens: 9, topK: 3, slots: 5, slotOf: (p) => 5 + p }],
  ["every third slot empty", { tokens: 64, topK: 2, slots: 12, slotOf: (p) => 3 * (p % 4) + 1 }],
  ["fewer rows than recorded", { tokens: 3, topK: 2, slots: 4, recorded: 100 }],
];

interface Expected {
  /** Slots of the blocks in use. */
  blocks: number[];
  pairs: number[];
}

function sorted(slots: readonly number[], count: number, block: number): Expected {
  const own = Array.from({ length: count }, (_, slot) => slots.flatMap((s, pair) => (s === slot ? [pair] : [])));
  const blocks = own.flatMap((pairs, slot) => Array.from({ length: Math.ceil(pairs.length / block) }, () => slot));
  const pairs = own.flatMap((list) => [...list, ...Array.from({ length: -list.length & (block - 1) }, () => NO_PAIR)]);
  return { blocks, pairs };
}

let bench: KernelBench;
beforeAll(async () => {
  bench = await KernelBench.open();
});
afterAll(() => bench.close());

describe("moe sort", () => {
  it.each(CASES)("%s", async (_, { tokens, topK, slots, slotOf = (_p, r) => r.below(slots), recorded = tokens }) => {
    const random = new Random(tokens + slots);
    const of = Array.from({ length: recorded * topK }, (_, pair) => slotOf(pair, random));
    const plan = { segments: [{ slot: 0, tokens: Array.from({ length: tokens }, () => 0) }] };
    await bench.run(
      { plan, rows: recorded, limits: { rows: 2048 } },
      (graph) => {
        const routes = graph.input("rows", 2 * topK, new Uint32Array(of.flatMap((slot) => [slot, 0x3f800000])));
        return sortByExpert(graph, { experts: slots, topK, ids: routes, routes }, slots);
      },
      async (program, { list, blocks, block }) => {
        const words = [...(await program.words(list))];
        const expected = sorted(of.slice(0, tokens * topK), slots, block);
        expect(expected.blocks.length).toBeLessThanOrEqual(blocks);
        const rest = (length: number): number[] => Array.from({ length }, () => UNTOUCHED);
        expect(words[0]).toBe(expected.blocks.length);
        expect(words.slice(1, 1 + blocks)).toEqual([...expected.blocks, ...rest(blocks - expected.blocks.length)]);
        expect(words.slice(1 + blocks)).toEqual([...expected.pairs, ...rest(blocks * block - expected.pairs.length)]);
        // Again over what is there already: the same.
        program.submit();
        expect([...(await program.words(list))]).toEqual(words);
      },
    );
  });

  it("has room for the worst routing and no more", async () => {
    // 20 slots and 40 pairs in blocks of 16: 19 slots with one pair each, and one with 21, which takes two blocks.
    await bench.run(
      { plan: { segments: [{ slot: 0, tokens: Array.from({ length: 40 }, () => 0) }] } },
      (graph) => {
        const slots = Array.from({ length: 40 }, (_, pair) => Math.min(pair, 19));
        const routes = graph.input("rows", 2, new Uint32Array(slots.flatMap((slot) => [slot, 0])));
        return sortByExpert(graph, { experts: 20, topK: 1, ids: routes, routes }, 20);
      },
      async (program, { list, blocks, block }) => {
        expect([blocks, block]).toEqual([21, 16]);
        expect((await program.words(list))[0]).toBe(21);
      },
    );
  });
});

/**
 * What a prompt costs in a layer of experts: rows that its matmuls multiply for so many tokens, whole blocks of one expert
 * each, as the router fills them.
 */
function multipliedRows(tokens: number, experts: number, topK: number): Promise<number> {
  const plan = { segments: [{ slot: 0, tokens: Array.from({ length: tokens }, () => 0) }] };
  return bench.run(
    { plan, rows: tokens, limits: { rows: 2048 } },
    (graph) => {
      const logits = graph.input("rows", experts, new Random(experts + tokens).normals(tokens * experts));
      const routing = route(graph, logits, { experts, topK, score: "softmax" });
      return sortByExpert(graph, routing, experts);
    },
    async (program, { list, block }) => (await program.words(list))[0]! * block,
  );
}

describe("work of a prompt", () => {
  // What is counted is the same on any device, and one that is slow need not count it all.
  const slow = inject("lane") === "chromium";
  it.each(slow ? [64] : [8, 64, 256])("of %i experts grows with tokens × top-k", async (experts) => {
    const topK = 4;
    const counted = await Promise.all([512, 1024, 2048].map((tokens) => multipliedRows(tokens, experts, topK)));
    for (const [i, tokens] of [512, 1024, 2048].entries()) {
      const pairs = tokens * topK;
      expect(counted[i]).toBeGreaterThanOrEqual(pairs);
      // An expert's last block may be nearly empty; all experts for every token would be experts / topK times the pairs.
      expect(counted[i]).toBeLessThanOrEqual(pairs + experts * 31);
      expect(counted[i]! / pairs).toBeLessThan(2.5);
    }
    expect(counted[2]! / counted[1]!).toBeLessThan(2.1);
    expect(await multipliedRows(1024, experts, 2 * topK)).toBeLessThan(2.1 * counted[1]!);
  });

  if (slow) return;
  it("is with 256 experts less than a third more than with 8", async () => {
    const [few, many] = [await multipliedRows(2048, 8, 8), await multipliedRows(2048, 256, 8)];
    expect(many / few).toBeLessThan(1.3);
  });
});
