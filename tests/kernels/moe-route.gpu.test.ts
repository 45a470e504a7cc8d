import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { route, type RouterOptions } from "../../src/kernels/router.ts";
import { F32_BOUND, expectClose } from "../reference/compare.ts";
import { routeReference, type RouterReference } from "../reference/moe.ts";
import { Random } from "../reference/random.ts";
import { KernelBench, UNTOUCHED } from "../support/kernel-bench.ts";

interface Case extends Omit<RouterReference, "bias"> {
  name: string;
  experts: number;
  tokens?: number;
  /** Scale of the biases. */
  bias?: number;
  magnitude?: number;
  /** Added to every logit. */
  shift?: number;
  /** Logits are rounded to multiples of this, for ties. */
  step?: number;
  /** Columns behind the experts' own. */
  wider?: number;
  /** Rows the program is recorded for, when more than tokens. */
  recorded?: number;
}

const mixtral = { score: "softmax", renormalise: true } as const;
const qwen2 = { score: "softmax" } as const;
const deepseek3 = { score: "sigmoid", renormalise: true, bias: 0.3, scale: 2.5 } as const;

const CASES: Case[] = [
  { name: "mixtral", ...mixtral, experts: 8, topK: 2 },
  { name: "qwen2", ...qwen2, experts: 60, topK: 4, wider: 1 },
  { name: "qwen3", ...mixtral, experts: 128, topK: 8 },
  { name: "gpt-oss", ...mixtral, experts: 32, topK: 4 },
  { name: "v2-lite", ...qwen2, experts: 64, topK: 6 },
  { name: "v2", ...qwen2, experts: 160, topK: 6, groups: { count: 8, top: 3, score: "best" }, scale: 16 },
  { name: "v3", ...deepseek3, experts: 256, topK: 8, groups: { count: 8, top: 4, score: "best two" } },
  {
    name: "v3 without bias",
    ...deepseek3,
    bias: 0,
    experts: 256,
    topK: 8,
    groups: { count: 8, top: 4, score: "best two" },
  },
  { name: "sigmoid", score: "sigmoid", experts: 16, topK: 3 },
  { name: "sigmoid, renormalised", score: "sigmoid", renormalise: true, experts: 16, topK: 1 },
  { name: "sigmoid with bias", ...deepseek3, experts: 48, topK: 5 },
  { name: "softmax with bias", ...mixtral, bias: 0.05, experts: 64, topK: 6 },
  // One expert, all experts, one of them.
  { name: "one expert", ...qwen2, experts: 1, topK: 1 },
  { name: "all experts", ...qwen2, experts: 8, topK: 8 },
  { name: "all of 33", ...mixtral, experts: 33, topK: 33 },
  { name: "top 1", ...qwen2, experts: 17, topK: 1 },
  { name: "64 chosen", ...mixtral, experts: 256, topK: 64 },
  // Both sides of a workgroup.
  ...[63, 64, 65, 255, 257, 511, 512].map((experts) => ({ name: `${experts} experts`, ...qwen2, experts, topK: 8 })),
  // Groups of two, groups of one, all groups, one group.
  { name: "groups of two", ...deepseek3, experts: 32, topK: 4, groups: { count: 16, top: 2, score: "best two" } },
  { name: "groups of one", ...mixtral, experts: 16, topK: 2, groups: { count: 16, top: 3, score: "best" } },
  { name: "every group", ...deepseek3, experts: 24, topK: 4, groups: { count: 4, top: 4, score: "best two" } },
  { name: "64 groups", ...mixtral, experts: 256, topK: 5, groups: { count: 64, top: 3, score: "best" } },
  // Biases that decide alone, and below zero: experts of other groups stay out.
  { name: "heavy bias", ...deepseek3, bias: 30, experts: 64, topK: 8, groups: { count: 8, top: 2, score: "best two" } },
  // Ties: a few values only.
  { name: "ties", ...mixtral, experts: 64, topK: 8, step: 2 },
  {
    name: "ties of groups",
    score: "sigmoid",
    experts: 64,
    topK: 8,
    step: 4,
    groups: { count: 16, top: 5, score: "best" },
  },
  { name: "all equal", ...mixtral, experts: 100, topK: 7, magnitude: 0 },
  // Magnitudes.
  { name: "1e4", ...mixtral, experts: 64, topK: 6, magnitude: 1e4 },
  { name: "1e5 sigmoid", ...deepseek3, bias: 0, experts: 64, topK: 6, magnitude: 1e5 },
  { name: "far up", ...qwen2, experts: 64, topK: 6, shift: 3e4 },
  // Renormalised by next to nothing: 1e-20 decides.
  { name: "tiny sums", score: "sigmoid", renormalise: true, experts: 32, topK: 4, shift: -48 },
  { name: "tiny sums of one", score: "sigmoid", renormalise: true, experts: 32, topK: 1, shift: -44 },
  // Tokens.
  { name: "one token", ...mixtral, experts: 8, topK: 2, tokens: 1 },
  { name: "300 tokens", ...mixtral, experts: 8, topK: 2, tokens: 300 },
  { name: "fewer rows than recorded", ...qwen2, experts: 8, topK: 3, tokens: 2, recorded: 5, wider: 3 },
];

interface Result {
  ids: Uint32Array;
  slots: Uint32Array;
  weights: Float32Array;
  /** Words behind the batch's rows. */
  beyond: Uint32Array[];
}

type Words = Float32Array<ArrayBuffer>;

function run(
  bench: KernelBench,
  logits: Words,
  tokens: number,
  recorded: number,
  given: Omit<RouterOptions, "bias" | "slots"> & { bias?: Words; slots?: Uint32Array<ArrayBuffer> },
): Promise<Result> {
  const plan = { segments: [{ slot: 0, tokens: Array.from({ length: tokens }, () => 0) }] };
  const { bias, slots, ...options } = given;
  const width = logits.length / tokens;
  return bench.run(
    { plan, rows: recorded, limits: { rows: 512 } },
    (graph) => {
      const whole = new Float32Array(recorded * width).fill(NaN);
      whole.set(logits);
      return route(graph, graph.input("rows", width, whole), {
        ...options,
        ...(bias && { bias: graph.upload(bias) }),
        ...(slots && { slots: graph.upload(slots) }),
      });
    },
    async (program, { ids, routes, topK }) => {
      const [allIds, allRoutes] = [await program.words(ids), await program.words(routes)];
      const used = allRoutes.slice(0, 2 * tokens * topK);
      return {
        ids: allIds.slice(0, tokens * topK),
        slots: used.filter((_, i) => i % 2 === 0),
        weights: new Float32Array(used.filter((_, i) => i % 2 === 1).buffer),
        beyond: [allIds.slice(tokens * topK), allRoutes.slice(2 * tokens * topK)],
      };
    },
  );
}

let bench: KernelBench;
beforeAll(async () => {
  bench = await KernelBench.open();
});
afterAll(() => bench.close());

describe("moe router", () => {
  it.each(CASES.map((c) => [c.name, c] as const))("%s", async (_, c) => {
    const { name: _name, tokens = 5, bias: biases = 0, magnitude = 2, shift = 0, step = 0, wider = 0, ...rest } = c;
    const { recorded = tokens, ...options } = rest;
    const { experts, topK } = options;
    const random = new Random(experts * 131 + topK);
    const row = (): Words => {
      const values = random.normals(experts, magnitude).map((x) => shift + (step ? Math.round(x / step) * step : x));
      // What is behind the experts is larger than they are.
      return new Float32Array([...values, ...Array.from({ length: wider }, () => 1e6)]);
    };
    const rows = Array.from({ length: tokens }, row);
    const bias = biases ? random.normals(experts, biases) : undefined;
    const logits = new Float32Array(rows.flatMap((r) => [...r]));
    const result = await run(bench, logits, tokens, recorded, { ...options, ...(bias && { bias }) });
    const expected = rows.flatMap((r) =>
      routeReference([...r.subarray(0, experts)], { ...options, ...(bias && { bias }) }),
    );
    expect([...result.ids]).toEqual(expected.map(({ id }) => id));
    expect(result.slots).toEqual(result.ids);
    expectClose(
      result.weights,
      expected.map(({ weight }) => weight),
      F32_BOUND,
    );
    for (const words of result.beyond) {
      expect(words.length).toBeGreaterThanOrEqual((recorded - tokens) * topK);
      expect(words.every((word) => word === UNTOUCHED)).toBe(true);
    }
  });

  it("sends experts through the table of slots", async () => {
    const slots = new Uint32Array([7, 0, 0xffffffff, 3, 3, 9, 1, 2]);
    const logits = new Float32Array([0, 1, 2, 3, 4, 5, 6, 7]);
    const result = await run(bench, logits, 1, 1, { ...mixtral, experts: 8, topK: 8, slots });
    expect([...result.ids]).toEqual([7, 6, 5, 4, 3, 2, 1, 0]);
    expect(result.slots).toEqual(slots.slice().reverse());
  });

  it("takes NaN and −∞ as the worst, +∞ as the best", async () => {
    const logits = new Float32Array([NaN, 1, -Infinity, -1e30, Infinity, 2, -NaN, 0]);
    const softmax = await run(bench, logits, 1, 1, { ...qwen2, experts: 8, topK: 5 });
    expect([...softmax.ids]).toEqual([4, 5, 1, 7, 0]);
    expect([...softmax.weights]).toEqual([1, 0, 0, 0, 0]);
    const without = logits.map((x) => (x === Infinity ? 1 : x));
    const { ids, weights } = await run(bench, without, 1, 1, { ...mixtral, experts: 8, topK: 5 });
    expect([...ids]).toEqual([5, 1, 4, 7, 0]);
    expectClose(
      weights,
      routeReference([...without], { ...mixtral, topK: 5 }).map((c) => c.weight),
    );
  });

  it.each(["softmax", "sigmoid"] as const)(
    "%s: gives finite, equal weights where no logit is a number",
    async (score) => {
      for (const nothing of [NaN, -Infinity]) {
        const logits = new Float32Array(40).fill(nothing);
        const groups = { count: 4, top: 2, score: "best" } as const;
        const { ids, weights } = await run(bench, logits, 1, 1, {
          score,
          renormalise: true,
          experts: 40,
          topK: 4,
          groups,
        });
        expect([...ids]).toEqual([0, 1, 2, 3]);
        expect([...weights]).toEqual(Array.from({ length: 4 }, () => (score === "softmax" ? 0.25 : weights[0])));
        expect(Number.isFinite(weights[0])).toBe(true);
      }
    },
  );

  it("gives a row the same bits in any company, and in every run", async () => {
    const random = new Random(5);
    const [experts, topK, tokens] = [256, 8, 20];
    const options = { ...mixtral, experts, topK, bias: random.normals(experts, 0.01) };
    const logits = random.normals(tokens * experts);
    const all = await run(bench, logits, tokens, tokens, options);
    expect(await run(bench, logits, tokens, tokens, options)).toEqual(all);
    for (const t of [0, 7, 19]) {
      const alone = await run(bench, logits.slice(t * experts, (t + 1) * experts), 1, 1, options);
      expect(alone.ids).toEqual(all.ids.slice(t * topK, (t + 1) * topK));
      expect(alone.weights).toEqual(all.weights.slice(t * topK, (t + 1) * topK));
    }
  });

  it("refuses what it cannot choose", async () => {
    const options = { ...mixtral, experts: 8, topK: 2 };
    const refused = (over: Partial<RouterOptions>): Promise<unknown> =>
      run(bench, new Float32Array(600), 1, 1, { ...options, ...over } as never).catch((error: unknown) => error);
    expect(String(await refused({ topK: 9 }))).toContain("9 of 8 experts");
    expect(String(await refused({ topK: 0 }))).toContain("0 experts");
    expect(String(await refused({ experts: 513 }))).toContain("router of 513 experts");
    expect(String(await refused({ experts: 601 }))).toContain("router of 601 experts");
    expect(String(await refused({ groups: { count: 3, top: 1, score: "best" } }))).toContain("8 experts in 3 groups");
    expect(String(await refused({ groups: { count: 8, top: 1, score: "best" } }))).toContain("2 of 1 experts");
    expect(String(await refused({ shared: { count: 63 } }))).toContain("2 + 63 experts");
    expect(String(await refused({ shared: { count: 1, gate: 600 } }))).toContain("column 600 of 600");
    expect(String(await refused({ groups: { count: 8, top: 4, score: "best two" } }))).toContain("groups of 1");
  });
});

describe("moe counts", () => {
  it.each([
    { experts: 8, topK: 2, tokens: 1 },
    { experts: 60, topK: 4, tokens: 150, shared: 4 },
    { experts: 512, topK: 8, tokens: 300 },
    { experts: 1, topK: 1, tokens: 257 },
    { experts: 300, topK: 1, tokens: 3, recorded: 9, shared: 1 },
  ])("$experts experts, top $topK of $tokens tokens", async (c) => {
    const { experts, topK, tokens, recorded = tokens, shared = 0 } = c;
    const random = new Random(experts + tokens);
    // One word more than there are experts: what is shared is not counted.
    const before = Uint32Array.from({ length: experts + 1 }, () => random.below(1000));
    const logits = random.normals(recorded * experts, 2);
    const expected = before.slice();
    for (let t = 0; t < tokens; t++) {
      const row = [...logits.subarray(t * experts, (t + 1) * experts)];
      for (const { id } of routeReference(row, { ...mixtral, topK })) expected[id]! += 2;
    }
    const plan = { segments: [{ slot: 0, tokens: Array.from({ length: tokens }, () => 0) }] };
    await bench.run(
      { plan, rows: recorded, limits: { rows: 512 } },
      (graph) => {
        const counts = graph.upload(before);
        const given = { ...mixtral, experts, topK, counts, ...(shared && { shared: { count: shared } }) };
        route(graph, graph.input("rows", experts, logits), given);
        return counts;
      },
      async (program, counts) => {
        // They add up from step to step.
        program.submit();
        expect(await program.words(counts)).toEqual(expected);
      },
    );
  });
});

describe("moe shared experts", () => {
  it.each([
    { experts: 8, topK: 2, count: 1, tokens: 3 },
    { experts: 60, topK: 4, count: 4, tokens: 5, gate: 61 },
    { experts: 256, topK: 8, count: 1, tokens: 2, gate: 256 },
    { experts: 64, topK: 6, count: 58, tokens: 3 },
  ])("$count behind the top $topK of $experts, gate $gate", async ({ experts, topK, count, tokens, gate }) => {
    const random = new Random(experts + count);
    const width = experts + 2;
    const logits = random.normals(tokens * width, 2);
    const shared = { count, ...(gate !== undefined && { gate }) };
    const slots = Uint32Array.from({ length: experts + count }, (_, i) => 3 * i + 1);
    const options = { ...mixtral, experts, topK, scale: 2.5, shared, slots };
    const { ids, slots: places, weights } = await run(bench, logits, tokens, tokens + 2, options);
    const rows = Array.from({ length: tokens }, (_, t) => [...logits.subarray(t * width, (t + 1) * width)]);
    const expected = rows.flatMap((row) => [
      ...routeReference(row.slice(0, experts), { ...mixtral, topK, scale: 2.5 }),
      ...Array.from({ length: count }, (_, i) => ({
        id: experts + i,
        weight: gate === undefined ? 1 : 1 / (1 + Math.exp(-row[gate]!)),
      })),
    ]);
    expect([...ids]).toEqual(expected.map(({ id }) => id));
    expect([...places]).toEqual(expected.map(({ id }) => 3 * id + 1));
    expectClose(
      weights,
      expected.map(({ weight }) => weight),
      F32_BOUND,
    );
  });
});
