import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { NO_TOKEN } from "../../src/kernels/batch.ts";
import { expectClose } from "../reference/compare.ts";
import { Random } from "../reference/random.ts";
import { filterReference, type Filters } from "../reference/sample.ts";
import { KernelBench } from "../support/kernel-bench.ts";
import { runRows, type Result, type Row } from "./sample-case.ts";

let bench: KernelBench;
beforeAll(async () => {
  bench = await KernelBench.open();
});
afterAll(() => bench.close());

const VOCABS = [1, 5, 255, 256, 257, 1023, 1024, 1025, 50_257];

/** Probabilities closer to a bound than this may fall on either side of it on a GPU. */
const MARGIN = 2e-6;

/** Runs rows and compares what they keep with the reference; says how many of them were certain. */
async function compare(
  rows: readonly (Row & { temperature: number })[],
): Promise<{ results: Result[]; certain: number }> {
  const results = await runRows(bench, rows);
  let certain = 0;
  results.forEach(({ kept, token, distribution }, i) => {
    const row = rows[i]!;
    const { kept: expected, margin } = filterReference(row.logits, row);
    expect([i, distribution[token]! > -1e30]).toEqual([i, true]);
    expectClose(
      kept.map((t) => distribution[t]!),
      kept.map((t) => row.logits[t]! / row.temperature),
    );
    if (margin < MARGIN) return;
    certain++;
    const wrong = kept.filter((t) => !expected.has(t));
    expect([i, kept.length, wrong]).toEqual([i, expected.size, []]);
  });
  return { results, certain };
}

describe("top-k", () => {
  it.each(VOCABS)("keeps the k largest of %i", async (vocab) => {
    const random = new Random(vocab);
    const rows = [1, 2, 3, 50, 255, vocab - 1, vocab, vocab + 1, 4_000_000_000].map((topK) => ({
      logits: random.normals(vocab, 4),
      temperature: 0.8,
      topK: Math.max(1, topK),
    }));
    const { certain } = await compare(rows);
    expect(certain).toBe(rows.length);
  });

  it.each([5, 257, 1025, 66_000])("keeps the lower ids of equals at the k-th of %i", async (vocab) => {
    const constant = new Float32Array(vocab).fill(-2.5);
    const levels = Float32Array.from(constant, (_, i) => (i * 7919) % 3);
    const zeros = Float32Array.from(constant, (_, i) => (i % 2 ? 0 : -0));
    const rows = [constant, levels, zeros].flatMap((logits) =>
      [1, 2, 4, Math.ceil(vocab / 3) + 1, vocab - 1].map((topK) => ({ logits, temperature: 1, topK })),
    );
    const { certain } = await compare(rows);
    expect(certain).toBe(rows.length);
  });

  it("is off at 0", async () => {
    const logits = new Random(1).normals(300, 5);
    const [result] = await runRows(bench, [{ logits, temperature: 1, topK: 0 }]);
    expect(result!.kept.length).toBe(300);
  });

  it("tells neighbours apart in the last bit, of either sign and any size", async () => {
    const rows = [1e5, -1e5, 1, -1, 1e-5, -1e-5, 3e-3].flatMap((x) => {
      const bits = new Uint32Array(new Float32Array([x]).buffer)[0]!;
      const next = Uint32Array.from({ length: 700 }, (_, i) => bits + ((i * 389) % 700));
      const logits = new Float32Array(next.buffer);
      return [1, 13, 350].map((topK) => ({ logits, temperature: 1, topK }));
    });
    const { certain } = await compare(rows);
    expect(certain).toBe(rows.length);
  });
});

describe("top-p", () => {
  it.each(VOCABS)("keeps the fewest that reach p, of %i", async (vocab) => {
    const random = new Random(vocab + 9);
    const rows = [0.05, 0.3, 0.5, 0.9, 0.95, 0.99, 0.999].flatMap((topP) =>
      [0.5, 1, 3].map((temperature) => ({ logits: random.normals(vocab, 2), temperature, topP })),
    );
    const { certain } = await compare(rows);
    expect(certain).toBeGreaterThan(rows.length * (vocab > 2000 ? 0.3 : 0.9));
  });

  it("keeps one at p = 0, all at p = 1", async () => {
    const random = new Random(3);
    const logits = random.normals(1025, 3);
    const equal = new Float32Array(1025).fill(4);
    const rows = [logits, equal].flatMap((l) =>
      [0, 1e-30, 1, 1.5].map((topP) => ({ logits: l, temperature: 1, topP })),
    );
    const results = await runRows(bench, rows);
    expect(results.map((r) => r.kept.length)).toEqual([1, 1, 1025, 1025, 1, 1, 1025, 1025]);
    expect(results[0]!.token).toBe(logits.indexOf(Math.max(...logits)));
    expect(results[4]!.token).toBe(0);
  });

  it("keeps the lower ids of equals", async () => {
    // 100 equals: p just under 37 of them takes 37, just over takes 38.
    const equal = Float32Array.from({ length: 300 }, (_, i) => (i % 3 === 1 ? 2 : -90));
    const rows = [0.3699, 0.3701, 0.005, 0.9999].map((topP) => ({ logits: equal, temperature: 1, topP }));
    const results = await runRows(bench, rows);
    expect(results.map((r) => r.kept.length)).toEqual([37, 38, 1, 100]);
    for (const { kept } of results) expect(kept).toEqual(kept.map((_, i) => 3 * i + 1));
  });

  it("counts the probability of a long tail", async () => {
    // One token with a tenth, 65,535 with the rest between them: each is 2⁻¹³ of the largest.
    const vocab = 65_536;
    const logits = new Float32Array(vocab).fill(Math.log(9 / (vocab - 1)));
    logits[40_000] = 0;
    const rows = [0.05, 0.5, 0.99].map((topP) => ({ logits, temperature: 1, topP }));
    const results = await runRows(bench, rows);
    results.forEach(({ kept }, i) => {
      const wanted = Math.max(1, ((rows[i]!.topP - 0.1) / 0.9) * (vocab - 1));
      expect(Math.abs(kept.length - wanted)).toBeLessThan(2);
      expect(kept).toContain(40_000);
    });
  });

  it("counts the probability of a small rest", async () => {
    // The second holds 10⁻⁴: without it the first is 0.99990 of all, and p is between that and 1.
    const logits = Float32Array.from([0, Math.log(1e-4), -80, -90]);
    const rows = [0.9998, 0.99995].map((topP) => ({ logits, temperature: 1, topP }));
    expect((await runRows(bench, rows)).map((r) => r.kept)).toEqual([[0], [0, 1]]);
  });

  it("is of what top-k left", async () => {
    const logits = Float32Array.from([0.4, 0.3, 0.2, 0.1], Math.log);
    const row = { logits, temperature: 1 };
    const results = await runRows(bench, [
      { ...row, topP: 0.65 },
      { ...row, topP: 0.75, topK: 2 },
      { ...row, topP: 0.55, topK: 2 },
      { ...row, topP: 0.75, topK: 3 },
    ]);
    // Of all: 0.4 + 0.3. Of two: 4/7, 3/7. Of three: 4/9 + 3/9 = 0.78.
    expect(results.map((r) => r.kept)).toEqual([[0, 1], [0, 1], [0], [0, 1]]);
  });
});

describe("min-p", () => {
  it.each(VOCABS)("keeps what is probable enough, of %i", async (vocab) => {
    const random = new Random(vocab + 2);
    const rows = [0.001, 0.05, 0.1, 0.5, 0.99].flatMap((minP) =>
      [0.4, 2].map((temperature) => ({ logits: random.normals(vocab, 2), temperature, minP })),
    );
    const { certain } = await compare(rows);
    expect(certain).toBeGreaterThan(rows.length * 0.5);
  });

  it("keeps only the largest at 1, ties among them, and all at 0", async () => {
    const logits = Float32Array.from({ length: 1025 }, (_, i) => (i % 100 === 7 ? 3 : (i % 90) / 31));
    const results = await runRows(bench, [
      { logits, temperature: 0.7, minP: 1 },
      { logits, temperature: 0.7, minP: 0 },
    ]);
    expect(results[0]!.kept).toEqual([7, 107, 207, 307, 407, 507, 607, 707, 807, 907, 1007]);
    expect(results[1]!.kept.length).toBe(1025);
  });
});

describe("filters together", () => {
  const cases = [5, 1024, 1025, 5000].flatMap((vocab) =>
    [0.3, 1, 2.5].map((temperature) => [vocab, temperature] as const),
  );
  it.each(cases)("keep what the reference keeps: vocab %i, temperature %d", async (vocab, temperature) => {
    const random = new Random(vocab + temperature);
    const some: Filters[] = Array.from({ length: 12 }, (_, i) => ({
      temperature,
      topK: [0, 1, 40, 200][i % 4]!,
      topP: [1, 0.9, 0.6][i % 3]!,
      minP: [0, 0.02, 0.2, 0, 0.001][i % 5]!,
    }));
    const { certain } = await compare(some.map((filters) => ({ ...filters, logits: random.normals(vocab, 3) })));
    expect(certain).toBeGreaterThan(9);
  });

  it("hold at logits of ±10⁵", async () => {
    const random = new Random(5);
    const rows = [1e5, -1e5].flatMap((offset) =>
      [1, 7, 100].map((topK) => ({
        logits: random.normals(1025, 3).map((x) => x + offset),
        temperature: 1,
        topK,
        topP: 0.8,
      })),
    );
    await compare(rows);
    const wide = [1, 40].map((topK) => ({
      logits: random.normals(1025, 1e5),
      temperature: 1,
      topK,
      topP: 0.9,
      minP: 0.1,
    }));
    expect((await compare(wide)).certain).toBe(2);
  });

  it.each([152_064, 262_144])("hold over %i entries", async (vocab) => {
    const random = new Random(vocab);
    const logits = random.normals(vocab, 2);
    const filters: Filters[] = [
      { temperature: 1, topK: 50 },
      { temperature: 0.6, topP: 0.9 },
      { temperature: 1, topK: 100_000, topP: 0.7, minP: 1e-4 },
    ];
    const { certain } = await compare(filters.map((f) => ({ ...f, logits })));
    expect(certain).toBeGreaterThan(0);
    // Everything equal: the worst of ties.
    const flat = new Float32Array(vocab).fill(1);
    const [half] = await runRows(bench, [{ logits: flat, temperature: 1, topK: vocab - 3, topP: 0.5 }]);
    expect(Math.abs(half!.kept.length - (vocab - 3) / 2)).toBeLessThan(2);
    expect(half!.kept.at(-1)).toBe(half!.kept.length - 1);
  });

  it("leave one token where one is allowed, and NO_TOKEN where none is", async () => {
    const logits = new Random(6).normals(1025, 2);
    const filters = { temperature: 1, topK: 5, topP: 0.5, minP: 0.5 };
    const results = await runRows(bench, [
      { logits, ...filters, allowed: [1000] },
      { logits, ...filters, allowed: [] },
      { logits: new Float32Array(1025).fill(NaN), ...filters },
      { logits, ...filters, allowed: [], forced: 3 },
    ]);
    expect(results.map((r) => r.token)).toEqual([1000, NO_TOKEN, NO_TOKEN, 3]);
    expect(results.map((r) => r.kept.length)).toEqual([1, 0, 0, 0]);
  });

  it("do not touch greedy rows", async () => {
    const random = new Random(7);
    const rows = Array.from({ length: 5 }, () => ({ logits: random.normals(1025, 2) }));
    const filtered = rows.map((row) => ({ ...row, temperature: 0, topK: 3, topP: 0.1, minP: 0.9 }));
    const results = await runRows(bench, filtered);
    results.forEach(({ token, kept }, i) => {
      expect(token).toBe(rows[i]!.logits.indexOf(Math.max(...rows[i]!.logits)));
      expect(kept.length).toBe(1025);
    });
  });

  it("give the same bits twice, in any company", async () => {
    const random = new Random(8);
    const rows = Array.from({ length: 6 }, (_, seed) => ({
      logits: random.normals(3000, 2),
      temperature: 1,
      seed,
      topK: [0, 60, 7][seed % 3]!,
      topP: [0.9, 1][seed % 2]!,
    }));
    const bits = (r: Result): unknown => [r.token, [...r.distribution], r.logprobs];
    const together = (await runRows(bench, rows)).map(bits);
    expect((await runRows(bench, rows)).map(bits)).toEqual(together);
    for (const i of [0, 3, 5])
      expect((await runRows(bench, [rows[i]!], { spare: 0 })).map(bits)).toEqual([together[i]]);
  });
});
