import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { NO_TOKEN } from "../../src/kernels/batch.ts";
import { MAX_LOGPROBS } from "../../src/kernels/sampling.ts";
import { expectClose } from "../reference/compare.ts";
import { Random } from "../reference/random.ts";
import { logProbability } from "../reference/sample.ts";
import { KernelBench } from "../support/kernel-bench.ts";
import { runRows, type Row } from "./sample-case.ts";

let bench: KernelBench;
beforeAll(async () => {
  bench = await KernelBench.open();
});
afterAll(() => bench.close());

const NONE = { token: NO_TOKEN, value: Math.fround(-1e30) };

/** Compares the log-probabilities of rows without processors with the reference, mask apart. */
async function compare(rows: readonly Row[]): Promise<void> {
  const results = await runRows(bench, rows);
  results.forEach(({ logprobs: [chosen, ...best], token }, i) => {
    const { logits, allowed, logprobs } = rows[i]!;
    const set = allowed && new Set(allowed);
    const there = [...logits.keys()].filter((t) => set?.has(t) ?? true);
    const order = [...there].sort((a, b) => logits[b]! - logits[a]! || a - b).slice(0, logprobs ?? 0);
    const only = there.map((t) => logits[t]!);
    const value = (t: number): number => logProbability(only, there.indexOf(t));
    expect(chosen!.token).toBe(token);
    expect([i, best.map((b) => b.token)]).toEqual([
      i,
      [...order, ...new Array<number>(MAX_LOGPROBS - order.length).fill(NO_TOKEN)],
    ]);
    expect(best.slice(order.length)).toEqual(new Array(MAX_LOGPROBS - order.length).fill(NONE));
    expectClose([chosen!.value, ...best.slice(0, order.length).map((b) => b.value)], [token, ...order].map(value));
  });
}

describe("log-probabilities", () => {
  const vocabs = [1, 2, 5, 19, 20, 21, 63, 64, 65, 128, 1023, 1024, 1025, 2047, 2048, 2049, 4097, 50_257, 70_000];
  it.each(vocabs)("are of the n best of %i, in order", async (vocab) => {
    const random = new Random(vocab);
    const rows = [0, 1, 2, 5, 19, 20].map((logprobs) => ({
      logits: random.normals(vocab, 3),
      temperature: [0, 1][logprobs % 2]!,
      logprobs,
    }));
    await compare(rows);
  });

  it.each([5, 21, 200, 1024, 3000])("give equals by id, of %i", async (vocab) => {
    const flat = new Float32Array(vocab).fill(-7);
    const steps = Float32Array.from(flat, (_, i) => (i * 31) % 7);
    const zeros = Float32Array.from(flat, (_, i) => (i % 2 ? 0 : -0));
    await compare([flat, steps, zeros].map((logits) => ({ logits, temperature: 1, logprobs: 20 })));
  });

  it("are of temperature 1 and before the filters", async () => {
    const logits = new Random(1).normals(1025, 2);
    const row = { logits, seed: 5, logprobs: 8 };
    await compare([
      { ...row, temperature: 0.1 },
      { ...row, temperature: 30 },
      { ...row, temperature: 1, topK: 2 },
      { ...row, temperature: 1, topP: 0.1, minP: 0.5 },
    ]);
  });

  it("are of what the mask allows", async () => {
    const random = new Random(2);
    const row = { logits: random.normals(3000, 2), temperature: 1 };
    await compare(
      [1, 3, 20, 1500].map((count) => ({ ...row, logprobs: 20, allowed: random.permutation(3000).slice(0, count) })),
    );
  });

  it("follow penalties and bias", async () => {
    const logits = Float32Array.from({ length: 2000 }, (_, i) => -i / 100);
    const counts = new Uint32Array(2000);
    counts[0] = 2;
    const [result] = await runRows(
      bench,
      [{ logits, counts, temperature: 0, logprobs: 3, presencePenalty: 5, logitBias: [[1500, 20]] }],
      { penalties: true },
    );
    expect(result!.logprobs.slice(0, 4).map((l) => l.token)).toEqual([1500, 1500, 1, 2]);
    const after = logits.map((x, t) => x + (t === 1500 ? 20 : 0) - (t === 0 ? 5 : 0));
    const values = [1500, 1500, 1, 2].map((t) => logProbability(after, t));
    expectClose(
      result!.logprobs.slice(0, 4).map((l) => l.value),
      values,
    );
  });

  it.each([1e4, 1e5, -1e5])("hold at logits near %d", async (offset) => {
    const logits = Float32Array.from({ length: 1500 }, (_, i) => offset + ((i * 37) % 64) / 8);
    await compare([0, 20].map((logprobs) => ({ logits, temperature: 1, logprobs })));
  });

  it("are the forced token's, −1e30 where it is not allowed, none where there is no token", async () => {
    const logits = new Random(6).normals(1025, 2);
    const results = await runRows(bench, [
      { logits, temperature: 1, forced: 900, logprobs: 2 },
      { logits, temperature: 1, forced: 900, logprobs: 2, allowed: [3] },
      { logits, temperature: 1, logprobs: 2, allowed: [] },
    ]);
    expect(results[0]!.logprobs[0]!.token).toBe(900);
    expectClose([results[0]!.logprobs[0]!.value], [logProbability(logits, 900)]);
    expect(results[1]!.logprobs.slice(0, 3)).toEqual([{ token: 900, value: NONE.value }, { token: 3, value: 0 }, NONE]);
    expect(results[2]!.logprobs.slice(0, 3)).toEqual([NONE, NONE, NONE]);
  });
});
