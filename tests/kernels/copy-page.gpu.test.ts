import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { copyPages } from "../../src/kernels/pages.ts";
import type { BatchPlan } from "../../src/kernels/batch.ts";
import { Random } from "../reference/random.ts";
import type { PoolShape } from "../reference/pool.ts";
import { KernelBench } from "../support/kernel-bench.ts";

/** One layer's pages: planes of so many words a page, one after another. */
interface Planes {
  name: string;
  words: readonly number[];
  draw(graph: Parameters<typeof copyPages>[0], pools: readonly Range[]): void;
}
type Range = Parameters<typeof copyPages>[1]["layers"][number]["pool"];

const PAGES = 6;

function kv(shape: PoolShape): Planes {
  const { format, pageSize, heads, headDim, valueDim = headDim } = shape;
  const perWord = { f32: 1, f16: 2, int8: 4 }[format];
  const entries = pageSize * heads;
  const [keys, values, scales] = [(entries * headDim) / perWord, (entries * valueDim) / perWord, entries];
  const offsets = { valueOffset: PAGES * entries * headDim, scaleOffset: PAGES * (keys + values) };
  return {
    name: `${format} ${heads}×${pageSize}×${headDim}${valueDim === headDim ? "" : `/${valueDim}`}`,
    words: format === "int8" ? [keys, values, scales] : [keys, values],
    draw: (graph, pools) =>
      copyPages(graph, { kind: "kv", ...shape, layers: pools.map((pool) => ({ pool, ...offsets })) }),
  };
}

function latent(format: "f32" | "f16", pageSize: number, rank: number, ropeDim: number): Planes {
  return {
    name: `${format} latents of ${rank} + ${ropeDim}, pages of ${pageSize}`,
    words: [(pageSize * (rank + ropeDim)) / (format === "f32" ? 1 : 2)],
    draw: (graph, pools) =>
      copyPages(graph, { kind: "latent", format, pageSize, rank, ropeDim, layers: pools.map((pool) => ({ pool })) }),
  };
}

const SHAPES: Planes[] = [
  kv({ format: "f32", pageSize: 32, heads: 1, headDim: 4 }),
  kv({ format: "f16", pageSize: 32, heads: 1, headDim: 4 }),
  kv({ format: "int8", pageSize: 32, heads: 1, headDim: 4 }),
  kv({ format: "f32", pageSize: 64, heads: 3, headDim: 12 }),
  kv({ format: "f16", pageSize: 64, heads: 2, headDim: 20, valueDim: 12 }),
  kv({ format: "int8", pageSize: 64, heads: 2, headDim: 20, valueDim: 12 }),
  kv({ format: "f16", pageSize: 128, heads: 2, headDim: 64 }),
  kv({ format: "f32", pageSize: 32, heads: 5, headDim: 80, valueDim: 96 }),
  kv({ format: "int8", pageSize: 32, heads: 3, headDim: 80, valueDim: 96 }),
  latent("f32", 32, 24, 8),
  latent("f16", 64, 512, 64),
];

const COPIES: BatchPlan["copies"][] = [
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

const CASES = SHAPES.flatMap((planes) => COPIES.map((copies) => ({ planes, copies })));

let bench: KernelBench;
beforeAll(async () => {
  bench = await KernelBench.open();
});
afterAll(() => bench.close());

describe("copy_page", () => {
  it.each(
    CASES.map(
      (c) =>
        [`${c.planes.name}: ${c.copies.map(({ from, to }) => `${from}→${to}`).join(", ") || "nothing"}`, c] as const,
    ),
  )("%s", async (_, { planes, copies }) => {
    const random = new Random(planes.words[0]!);
    const poolWords = PAGES * planes.words.reduce((a, b) => a + b, 0);
    const before = [0, 1].map(() => Uint32Array.from({ length: poolWords }, () => random.bits()));
    const after = await bench.run(
      { plan: { copies } },
      (graph) => {
        const pools = before.map((words) => graph.upload(words.slice()));
        planes.draw(graph, pools);
        return pools;
      },
      (program, pools) => Promise.all(pools.map((pool) => program.words(pool))),
    );
    const expected = before.map((words) => {
      const result = words.slice();
      for (const { from, to } of copies) {
        let plane = 0;
        for (const pageWords of planes.words) {
          const page = words.subarray(plane + from * pageWords, plane + (from + 1) * pageWords);
          result.set(page, plane + to * pageWords);
          plane += PAGES * pageWords;
        }
      }
      return result;
    });
    expect(after).toEqual(expected);
  });
});
