import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { score } from "../../src/kernels/sample.ts";
import { expectClose } from "../reference/compare.ts";
import { Random } from "../reference/random.ts";
import { logProbability } from "../reference/sample.ts";
import { KernelBench, UNTOUCHED } from "../support/kernel-bench.ts";

let bench: KernelBench;
beforeAll(async () => {
  bench = await KernelBench.open();
});
afterAll(() => bench.close());

function run(rows: readonly Float32Array[], tokens: readonly number[], recorded = rows.length): Promise<Uint32Array> {
  const vocab = rows[0]!.length;
  return bench.run(
    {
      plan: { samples: tokens.map((token, i) => ({ row: i, slot: 0, token })) },
      limits: { vocabSize: vocab },
      samples: recorded,
    },
    (graph) => {
      const logits = new Float32Array(recorded * vocab).fill(NaN);
      rows.forEach((row, i) => logits.set(row, i * vocab));
      return score(graph, graph.input("samples", vocab, logits));
    },
    (program, scores) => program.words(scores),
  );
}

const floats = (words: Uint32Array): Float32Array => new Float32Array(words.slice().buffer);

describe("score", () => {
  const cases = [1, 5, 63, 64, 65, 127, 1000, 1024, 50_000].flatMap((vocab) =>
    [0.1, 1, 8, 30].map((spread) => [vocab, spread] as const),
  );
  it.each(cases)("is the log of the softmax: vocab %i, logits ~ %d", async (vocab, spread) => {
    const random = new Random(vocab);
    const rows = Array.from({ length: 7 }, () => random.normals(vocab, spread));
    const tokens = [0, vocab - 1, vocab >> 1, ...Array.from({ length: 4 }, () => random.below(vocab))];
    const words = await run(rows, tokens, 9);
    // A vocabulary of one is certain: log 1 is 0, not merely near it.
    expectClose(
      floats(words.subarray(0, 7)),
      rows.map((row, i) => logProbability(row, tokens[i]!)),
    );
    expect([...words.subarray(7)]).toEqual([UNTOUCHED, UNTOUCHED]);
  });

  it("is right at logits of 10⁴ to 10⁵, and where one token has it all", async () => {
    const rows = [
      Float32Array.from({ length: 300 }, (_, i) => 1e5 - (i % 7)),
      Float32Array.from({ length: 300 }, (_, i) => -1e4 - i / 16),
      Float32Array.from({ length: 300 }, (_, i) => (i === 299 ? 1e4 : 0)),
    ];
    for (const token of [0, 6, 299]) {
      const words = await run(
        rows,
        rows.map(() => token),
      );
      expectClose(
        floats(words),
        rows.map((row) => logProbability(row, token)),
      );
    }
  });

  it("gives a sample the same bits in any company", async () => {
    const random = new Random(8);
    const rows = Array.from({ length: 8 }, () => random.normals(1000, 3));
    const all = await run(rows, [0, 1, 2, 3, 4, 5, 6, 7]);
    for (const i of [0, 4, 7]) expect((await run([rows[i]!], [i]))[0]).toBe(all[i]);
  });
});
