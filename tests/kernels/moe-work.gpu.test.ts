/** What a prompt costs in a layer of experts, counted: it grows with tokens × top-k, whatever the number of experts. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { sortByExpert } from "../../src/kernels/experts.ts";
import { route } from "../../src/kernels/router.ts";
import { Random } from "../reference/random.ts";
import { KernelBench } from "../support/kernel-bench.ts";

let bench: KernelBench;
beforeAll(async () => {
  bench = await KernelBench.open();
});
afterAll(() => bench.close());

/** Rows that the matmuls of a layer multiply for so many tokens: whole blocks of one expert each, as the router fills them. */
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
  it.each([8, 64, 256])("of %i experts grows with tokens × top-k", async (experts) => {
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

  it("is with 256 experts less than a third more than with 8", async () => {
    const [few, many] = [await multipliedRows(2048, 8, 8), await multipliedRows(2048, 256, 8)];
    expect(many / few).toBeLessThan(1.3);
  });
});
