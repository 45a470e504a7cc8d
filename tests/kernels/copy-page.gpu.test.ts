import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { copyPages } from "../../src/kernels/pages.ts";
import type { BatchPlan } from "../../src/kernels/batch.ts";
import { Random } from "../reference/random.ts";
import type { PoolShape } from "../reference/pool.ts";
import { KernelBench } from "../support/kernel-bench.ts";

interface Case extends PoolShape {
  copies: BatchPlan["copies"];
}

const SHAPES: PoolShape[] = [
  { format: "f32", pageSize: 32, heads: 1, headDim: 4 },
  { format: "f16", pageSize: 32, heads: 1, headDim: 4 },
  { format: "f32", pageSize: 64, heads: 3, headDim: 12 },
  { format: "f16", pageSize: 64, heads: 2, headDim: 20 },
  { format: "f16", pageSize: 128, heads: 2, headDim: 64 },
  { format: "f32", pageSize: 32, heads: 5, headDim: 80 },
];

const COPIES: Case["copies"][] = [
  [],
  [{ from: 0, to: 5 }],
  [{ from: 5, to: 0 }],
  // One page to many, as a fork into several continuations does.
  [1, 2, 3, 5].map((to) => ({ from: 4, to })),
  [
    { from: 2, to: 1 },
    { from: 0, to: 3 },
    { from: 5, to: 4 },
  ],
];

const CASES = SHAPES.flatMap((shape) => COPIES.map((copies): Case => ({ ...shape, copies })));

const title = ({ format, pageSize, heads, headDim, copies }: Case): string =>
  `${format} ${heads}×${pageSize}×${headDim}: ${copies.map((c) => `${c.from}→${c.to}`).join(", ") || "nothing"}`;

const PAGES = 6;

let bench: KernelBench;
beforeAll(async () => {
  bench = await KernelBench.open();
});
afterAll(() => bench.close());

describe("copy_page", () => {
  it.each(CASES.map((c) => [title(c), c] as const))("%s", async (_, c) => {
    const random = new Random(c.headDim);
    const pageElements = c.pageSize * c.heads * c.headDim;
    const pageWords = c.format === "f32" ? pageElements : pageElements / 2;
    const before = [0, 1].map(() => Uint32Array.from({ length: 2 * PAGES * pageWords }, () => random.bits()));
    const after = await bench.run(
      { plan: { copies: c.copies } },
      (graph) => {
        const pools = before.map((words) => graph.upload(words.slice()));
        const layers = pools.map((pool) => ({ pool, valueOffset: PAGES * pageElements }));
        copyPages(graph, { kind: "kv", ...c, layers });
        return pools;
      },
      (program, pools) => Promise.all(pools.map((pool) => program.words(pool))),
    );
    const expected = before.map((words) => {
      const result = words.slice();
      for (const { from, to } of c.copies) {
        for (const half of [0, PAGES]) {
          const page = words.subarray((half + from) * pageWords, (half + from + 1) * pageWords);
          result.set(page, (half + to) * pageWords);
        }
      }
      return result;
    });
    expect(after).toEqual(expected);
  });
});
