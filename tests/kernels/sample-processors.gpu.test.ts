import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { sample } from "../../src/kernels/sample.ts";
import { MAX_BIASES, NO_TOKEN } from "../../src/kernels/batch.ts";
import { packSampling } from "../../src/kernels/sampling.ts";
import { expectClose } from "../reference/compare.ts";
import { Random } from "../reference/random.ts";
import { processReference } from "../reference/sample.ts";
import { KernelBench } from "../support/kernel-bench.ts";
import { runRows, type Row } from "./sample-case.ts";

let bench: KernelBench;
beforeAll(async () => {
  bench = await KernelBench.open();
});
afterAll(() => bench.close());

const IN_PROMPT = 2 ** 31;
const VOCABS = [1, 2, 5, 64, 65, 1023, 1024, 1025, 2048, 5000];

/** A third of the tokens in the prompt, a quarter drawn between once and nine times. */
function someCounts(random: Random, vocab: number): Uint32Array<ArrayBuffer> {
  return Uint32Array.from({ length: vocab }, () => {
    const drawn = random.below(4) ? 0 : 1 + random.below(9);
    return (random.below(3) ? 0 : IN_PROMPT) + drawn;
  });
}

/** Runs rows and compares the processed logits with the reference. */
async function compare(rows: readonly Row[], penalties = true): Promise<void> {
  const results = await runRows(bench, rows, { penalties });
  results.forEach(({ processed, token, counts }, i) => {
    const { allowed, counts: before, ...row } = rows[i]!;
    const set = allowed && new Set(allowed);
    const expected = processReference({
      ...row,
      ...(set && { allowed: (t: number) => set.has(t) }),
      inPrompt: (t) => (before?.[t] ?? 0) >= IN_PROMPT,
      drawn: (t) => (before?.[t] ?? 0) % IN_PROMPT,
    });
    const there = [...expected.keys()].filter((t) => expected[t]! > -1e30);
    expectClose(
      there.map((t) => processed[t]!),
      there.map((t) => expected[t]!),
      { nmse: 1e-13, largest: 1e-6 },
    );
    expect(processed.every((x, t) => expected[t]! > -1e30 || x === Math.fround(-1e30))).toBe(true);
    const best = there.reduce((a, t) => Math.max(a, processed[t]!), -Infinity);
    expect(token).toBe(processed.indexOf(best));
    // The draw counts its token where there are penalties, and nothing else.
    if (!counts || !before) return;
    const penalised = row.repetitionPenalty ?? row.frequencyPenalty ?? row.presencePenalty;
    const after = Uint32Array.from(before, (n, t) => n + (t === token && penalised !== undefined ? 1 : 0));
    expect([i, counts]).toEqual([i, after]);
  });
}

describe("penalties", () => {
  it.each(VOCABS)("are the reference's over %i tokens", async (vocab) => {
    const random = new Random(vocab);
    const logits = (): Float32Array<ArrayBuffer> => random.normals(vocab, 5);
    const counts = (): Uint32Array<ArrayBuffer> => someCounts(random, vocab);
    await compare([
      { logits: logits(), counts: counts(), temperature: 0, repetitionPenalty: 1.3 },
      { logits: logits(), counts: counts(), temperature: 0, repetitionPenalty: 0.5 },
      { logits: logits(), counts: counts(), temperature: 0, frequencyPenalty: 0.7 },
      { logits: logits(), counts: counts(), temperature: 0, frequencyPenalty: -2 },
      { logits: logits(), counts: counts(), temperature: 0, presencePenalty: 1.5 },
      { logits: logits(), counts: counts(), temperature: 0, presencePenalty: -1.5 },
      {
        ...{ logits: logits(), counts: counts(), temperature: 0 },
        ...{ repetitionPenalty: 1.1, frequencyPenalty: 0.2, presencePenalty: 0.4 },
      },
      { logits: logits(), counts: counts(), temperature: 0 },
    ]);
  });

  it.each([1e4, 1e5])("hold at logits of ±%d", async (scale) => {
    const random = new Random(scale);
    const rows = [1.2, 0.9].map((repetitionPenalty) => ({
      logits: random.normals(1025, scale),
      counts: someCounts(random, 1025),
      temperature: 0,
      repetitionPenalty,
      frequencyPenalty: 0.1,
    }));
    await compare(rows);
  });

  it("are of the slot that asks for them alone", async () => {
    const random = new Random(4);
    const row = { logits: random.normals(1025, 5), temperature: 0 };
    await compare([
      { ...row, counts: someCounts(random, 1025) },
      { ...row, counts: someCounts(random, 1025), presencePenalty: 2 },
      { ...row, counts: someCounts(random, 1025) },
    ]);
  });

  it("accumulate from draw to draw", async () => {
    const vocab = 40;
    const options = { temperature: 0, frequencyPenalty: 0.3, presencePenalty: 0.25, repetitionPenalty: 1.05 };
    const logits = new Random(2).normals(vocab, 1);
    const drawn = new Map<number, number>();
    const expected = Array.from({ length: 60 }, () => {
      const x = processReference({ ...options, logits, drawn: (t) => drawn.get(t) ?? 0 });
      const token = x.indexOf(Math.max(...x));
      drawn.set(token, (drawn.get(token) ?? 0) + 1);
      return token;
    });
    const tokens = await bench.run(
      {
        plan: { samples: [{ row: 0, slot: 2 }] },
        slots: [{}, {}, { ...options, counts: new Uint32Array(vocab) }],
        limits: { vocabSize: vocab, penalties: true },
      },
      (graph) => sample(graph, graph.input("samples", vocab, logits), { filters: true }),
      async (program) => {
        const seen: number[] = [];
        for (let round = 0; round < 60; round++) {
          if (round > 0) program.submit();
          seen.push((await program.words(program.batch.tokens))[0]!);
        }
        return seen;
      },
    );
    expect(tokens).toEqual(expected);
    expect(new Set(tokens).size).toBeGreaterThan(10);
  });

  it("count forced tokens, and no token where none can be drawn", async () => {
    const vocab = 1025;
    const row = {
      logits: new Random(1).normals(vocab),
      counts: new Uint32Array(vocab),
      temperature: 0,
      presencePenalty: 1,
    };
    const results = await runRows(
      bench,
      [
        { ...row, forced: 77 },
        { ...row, allowed: [] },
      ],
      { penalties: true },
    );
    expect(results.map((r) => r.counts!.reduce((a, b) => a + b))).toEqual([1, 0]);
    expect(results[0]!.counts![77]).toBe(1);
  });
});

describe("bias", () => {
  it.each(VOCABS)("is the reference's over %i tokens", async (vocab) => {
    const random = new Random(vocab + 1);
    const bias = (count: number): [number, number][] =>
      random
        .permutation(vocab)
        .slice(0, count)
        .map((token) => [token, random.normal() * 30]);
    const ends: [number, number][] = [...new Set([0, vocab - 1])].map((token) => [token, 50 - token / vocab]);
    await compare(
      [bias(1), bias(2), bias(65), bias(MAX_BIASES), ends, []].map((logitBias) => ({
        logits: random.normals(vocab, 3),
        temperature: 0,
        logitBias,
      })),
      false,
    );
  });

  it("joins penalties and mask, and can ban or force a token", async () => {
    const random = new Random(3);
    const row = { logits: random.normals(3000, 3), temperature: 0, counts: someCounts(random, 3000) };
    const best = row.logits.indexOf(Math.max(...row.logits));
    const allowed = random.permutation(3000).slice(0, 200);
    await compare([
      { ...row, logitBias: [[best, -100]] },
      { ...row, logitBias: [[2999, 100]] },
      { ...row, logitBias: [[best, -100]], allowed: [best] },
      { ...row, logitBias: [[1, -2e30]] },
      {
        ...row,
        logitBias: allowed.slice(0, 50).map((t) => [t, 3]),
        allowed,
        repetitionPenalty: 1.4,
        presencePenalty: 1,
      },
    ]);
  });
});

describe("processed logits", () => {
  it("are never infinite or NaN", async () => {
    const logits = Float32Array.from({ length: 1030 }, (_, i) => [NaN, Infinity, -Infinity, 1][i % 4]!);
    logits[8] = 3e38;
    const [a, b] = await runRows(bench, [
      { logits, temperature: 0, logitBias: [[8, 3e38]] },
      { logits, temperature: 1, topP: 0.5, topK: 3 },
    ]);
    expect(a!.processed.every((x) => Number.isFinite(x))).toBe(true);
    expect(a!.token).toBe(3);
    expect(b!.token).toBe(8);
  });
});

describe("packing of options", () => {
  const floats = (words: Uint32Array): Float32Array => new Float32Array(words.slice().buffer);

  it("has defaults that change nothing", () => {
    const words = packSampling({});
    const values = floats(words);
    expect([values[0], words[1], words[2], values[3]]).toEqual([1, 0, 0, 1]);
    expect(values[4]).toBeLessThan(-3e38);
    expect([...values.subarray(5, 8)]).toEqual([1, 0, 0]);
    expect([...words.subarray(8)]).toEqual([0, 0, 0, ...new Array<number>(5).fill(NO_TOKEN)]);
  });

  it("keeps finite numbers finite", () => {
    const words = packSampling({ temperature: 1e300, minP: 1e-320, logitBias: [[5, -1e300]] });
    const values = floats(words);
    expect([values[0], values[4], values[17]].every((x) => Number.isFinite(x))).toBe(true);
  });

  it("refuses more biases than there is room for, or two for a token", () => {
    const many = Array.from({ length: MAX_BIASES + 1 }, (_, i): [number, number] => [i, 1]);
    expect(() => packSampling({ logitBias: many })).toThrow("room for 300");
    expect(() => packSampling({ logitBias: [[1, 1], [1, 2]] })).toThrow("two biases"); // prettier-ignore
    expect(() => packSampling({ logprobs: 21 })).toThrow("at most 20");
  });
});
