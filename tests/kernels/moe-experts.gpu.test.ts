import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { experts, type Experts } from "../../src/kernels/experts.ts";
import type { Tensor } from "../../src/kernels/graph.ts";
import type { Linear } from "../../src/kernels/linear.ts";
import { route } from "../../src/kernels/router.ts";
import type { Tuning } from "../../src/kernels/tuning.ts";
import { expectClose } from "../reference/compare.ts";
import { routeReference } from "../reference/moe.ts";
import { Random } from "../reference/random.ts";
import { KernelBench, UNTOUCHED } from "../support/kernel-bench.ts";
import {
  drawExperts,
  makeData,
  padded,
  PATHS,
  referenceOf,
  routesOf,
  runExperts,
  setupOf,
  sliceOf,
  uploadLayer,
  type MoeCase,
} from "./moe-case.ts";

/** hidden, width, experts and topK of most cases: two blocks of a row at least, no power of two. */
const small = { hidden: 36, width: 20, experts: 6, topK: 2 } as const;

const CASES: MoeCase[] = [
  // Tokens on both sides of a block of 16 and of 32, and of what takes which.
  ...[1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33].map((tokens) => ({ tokens, ...small })),
  ...[15, 16, 17, 31, 32, 33, 65].map((tokens): MoeCase => ({ tokens, ...small, topK: 1, towards: "last" })),
  // Sizes: four columns, both sides of a tile's 32 and 64, more than a tile.
  ...[4, 28, 32, 60, 64, 68, 132].map((hidden, i): MoeCase => ({
    tokens: 5,
    hidden,
    width: [4, 36, 12, 64, 32, 68, 100][i]!,
    experts: 3,
    topK: 2,
    residual: true,
  })),
  // Experts: one, all of them, many, most of them without a token.
  { tokens: 5, ...small, experts: 1, topK: 1 },
  { tokens: 40, ...small, experts: 1, topK: 1 },
  { tokens: 9, ...small, experts: 4, topK: 4 },
  { tokens: 3, ...small, experts: 40, topK: 8, towards: "own" },
  { tokens: 12, ...small, experts: 128, topK: 8 },
  { tokens: 20, ...small, experts: 12, topK: 3, towards: "thirds" },
  { tokens: 50, ...small, experts: 12, topK: 2, towards: "last" },
  { tokens: 8, ...small, experts: 512, topK: 2, hidden: 8, width: 4 },
  // An expert that is not resident.
  { tokens: 5, ...small, missing: true, residual: true },
  { tokens: 40, ...small, topK: 1, towards: "last", missing: true, residual: true },
  // Layouts.
  ...(["f32", "f16", "bf16", "q8", "q4", "q4-g64", "q4z", "q8z-g128"] as const).map((layout, i): MoeCase => ({
    tokens: 4,
    hidden: [36, 68, 132, 36, 100, 260, 68, 132][i]!,
    width: [20, 36, 64, 100, 36, 68, 32, 64][i]!,
    experts: 4,
    topK: 2,
    layout,
    bias: i % 2 === 1,
    norm: i % 3 === 0,
  })),
  // What joins, and what comes before.
  { tokens: 5, ...small, norm: true },
  { tokens: 20, ...small, topK: 1, towards: "last", norm: true },
  { tokens: 5, ...small, norm: true, offset: 1, residual: true },
  { tokens: 5, ...small, norm: true, magnitude: 1e-3 },
  { tokens: 5, ...small, bias: true },
  { tokens: 5, ...small, bias: true, residual: true, shared: "plain" },
  { tokens: 5, ...small, norm: true, bias: true, residual: true, shared: "gated" },
  { tokens: 5, ...small, shared: "gated" },
  // Activations.
  { tokens: 5, ...small, gate: "gelu-tanh" },
  { tokens: 5, ...small, gate: "gelu-tanh", magnitude: 1e4 },
  { tokens: 5, ...small, gate: "swiglu-clamped", limit: 0.7, bias: true },
  { tokens: 5, ...small, gate: "swiglu-clamped", limit: 7, bias: true, magnitude: 1e4 },
  { tokens: 5, ...small, gate: "relu2" },
  // Parts, alike and not, with and without what joins.
  { tokens: 5, ...small, parts: [[1, 2, 3], [6]] },
  { tokens: 5, ...small, parts: [[6], [2, 4]], residual: true },
  {
    tokens: 9,
    ...small,
    topK: 6,
    parts: [
      [3, 3],
      [1, 1, 1, 1, 1, 1],
    ],
    bias: true,
    residual: true,
    shared: "gated",
  },
  {
    tokens: 5,
    ...small,
    layout: "q4",
    parts: [
      [4, 2],
      [5, 1],
    ],
    towards: "last",
    residual: true,
  },
  {
    tokens: 5,
    ...small,
    layout: "bf16",
    parts: [
      [2, 2, 2],
      [2, 2, 2],
    ],
    norm: true,
    missing: true,
    residual: true,
  },
  // Magnitudes: what an expert makes grows with the square.
  { tokens: 5, ...small, magnitude: 1e4, residual: true },
  { tokens: 5, ...small, magnitude: 1e5, norm: true, residual: true },
  { tokens: 5, ...small, magnitude: 1e5, layout: "f16" },
  { tokens: 5, ...small, magnitude: 1e4, layout: "q4" },
  // A batch with fewer rows than the program.
  { tokens: 1, ...small, recorded: 8, residual: true, norm: true },
  { tokens: 9, ...small, recorded: 40, shared: "gated" },
  {
    tokens: 2,
    ...small,
    experts: 3,
    recorded: 300,
    parts: [
      [1, 2],
      [2, 1],
    ],
  },
];

function title(c: MoeCase): string {
  const { tokens, hidden, width, experts, topK, layout = "f32", gate, towards, parts, magnitude, recorded } = c;
  const flags = (["norm", "bias", "residual", "missing"] as const).filter((name) => c[name]);
  const more = [
    ...(gate ? [gate] : []),
    ...flags,
    ...(c.offset ? ["offset"] : []),
    ...(c.shared ? [`shared ${c.shared}`] : []),
    ...(towards ? [`towards ${towards}`] : []),
    ...(parts ? [`parts ${parts.map((p) => p.join("+")).join(" and ")}`] : []),
    ...(magnitude ? [`x ~ ${magnitude}`] : []),
    ...(recorded ? [`of ${recorded}`] : []),
  ];
  return `${layout} ${tokens} tokens ${hidden}·${width} top ${topK} of ${experts} ${more.join(" ")}`.trim();
}

let bench: KernelBench;
beforeAll(async () => {
  bench = await KernelBench.open();
});
afterAll(() => bench.close());

describe.each(Object.entries(PATHS))("moe experts %s", (_path, tuning) => {
  it.each(CASES.map((c) => [title(c), c] as const))("%s", async (_, c) => {
    const data = makeData(c);
    const expected = referenceOf(c, data);
    const words = await runExperts(bench, c, data, tuning);
    expectClose(new Float32Array(words.slice(0, expected.length).buffer), expected);
    const beyond = words.subarray(expected.length);
    expect(beyond.length).toBe(((c.recorded ?? c.tokens) - c.tokens) * c.hidden);
    expect(beyond.every((word) => word === UNTOUCHED)).toBe(true);
  });

  it("does not take up what an earlier batch left", async () => {
    const c: MoeCase = { tokens: 24, ...small, topK: 1, residual: true };
    const earlier = makeData(c);
    // Everything to the first expert: fewer blocks than before, and those behind them are other experts'.
    const data = { ...earlier, choices: earlier.choices.map(([choice]) => [{ ...choice!, id: 0 }]) };
    const words = await bench.run(
      setupOf(c, tuning),
      (graph) => {
        const y = drawExperts(graph, c, earlier);
        const routes = graph.ops[0]!.bindings["routes"] as Tensor;
        return { y, routes: graph.rangeOf(routes) };
      },
      async (program, { y, routes }) => {
        await program.words(y);
        bench.gpu.queue.writeBuffer(routes.buffer, 0, routesOf(c, data));
        program.submit();
        return program.words(y);
      },
    );
    expectClose(new Float32Array(words.buffer), referenceOf(c, data));
  });

  it("gives a row the same bits in any company, and in every run", async () => {
    const c: MoeCase = { tokens: 40, ...small, norm: true, bias: true, residual: true, shared: "gated" };
    const data = makeData(c);
    const all = await runExperts(bench, c, data, tuning);
    expect(await runExperts(bench, c, data, tuning)).toEqual(all);
    for (const row of [0, 17, 39]) {
      const alone = await runExperts(bench, { ...c, tokens: 1 }, sliceOf(c, data, row), tuning);
      expect(alone).toEqual(all.slice(row * c.hidden, (row + 1) * c.hidden));
    }
  });

  it.each([
    { tokens: 3, experts: 8, topK: 2, hidden: 36, width: 20 },
    { tokens: 256, experts: 256, topK: 8, hidden: 8, width: 4 },
    { tokens: 1024, experts: 60, topK: 8, hidden: 8, width: 4 },
  ])("after the router: $tokens tokens, top $topK of $experts", async (c) => {
    const { tokens, experts: count, topK } = c;
    const logits = new Random(count).normals(tokens * count);
    const router = { topK, score: "softmax", renormalise: true } as const;
    // Slots in another order than experts: expert e resides in slot count − 1 − e.
    const slots = Uint32Array.from({ length: count }, (_, e) => count - 1 - e);
    const rows = Array.from({ length: tokens }, (_, t) => [...logits.subarray(t * count, (t + 1) * count)]);
    const choices = rows.map((row) =>
      routeReference(row, router).map(({ id, weight }) => ({ id: slots[id]!, weight })),
    );
    const data = { ...makeData({ ...c, towards: "own" }), choices };
    const words = await bench.run(
      setupOf(c, tuning),
      (graph) => {
        const routing = route(graph, padded(graph, count, logits), {
          ...router,
          experts: count,
          slots: graph.upload(slots),
        });
        return experts(graph, padded(graph, c.hidden, data.x), routing, uploadLayer(graph, c, data), { gate: "silu" });
      },
      (program, y) => program.words(y),
    );
    expectClose(new Float32Array(words.buffer), referenceOf(c, data));
  });
});

describe("moe experts", () => {
  const dispatches = async (c: MoeCase, tuning: Partial<Tuning>): Promise<string[]> => {
    const data = makeData(c);
    return bench.run(
      setupOf(c, tuning),
      (graph) => {
        drawExperts(graph, c, data);
        return graph.ops.map(({ label }) => label);
      },
      (_, labels) => Promise.resolve(labels),
    );
  };

  it("takes two dispatches for 8 rows, and sorts more", async () => {
    expect(await dispatches({ tokens: 8, ...small }, {})).toEqual(["moe up f32", "moe down f32"]);
    const sorted = ["moe sort", "moe matmul f32", "moe matmul f32", "moe combine"];
    expect(await dispatches({ tokens: 9, ...small }, {})).toEqual(sorted);
    expect(await dispatches({ tokens: 9, ...small }, { deterministic: true })).toHaveLength(2);
  });

  it("gives a row the same bits whatever the batch, where that is asked for", async () => {
    const c: MoeCase = { tokens: 20, ...small, layout: "q8", norm: true, residual: true };
    const data = makeData(c);
    const tuning = { deterministic: true };
    const all = await runExperts(bench, c, data, tuning);
    for (const row of [0, 19]) {
      const alone = await runExperts(bench, { ...c, tokens: 1 }, sliceOf(c, data, row), tuning);
      expect(alone).toEqual(all.slice(row * c.hidden, (row + 1) * c.hidden));
    }
  });

  it("refuses parts that cut an expert, and matrices that do not fit", async () => {
    const c: MoeCase = { tokens: 1, ...small };
    const data = makeData(c);
    const refusal = (change: (layer: Experts) => Experts): Promise<string> =>
      bench
        .run(
          setupOf(c, {}),
          (graph) => {
            const routes = padded(graph, 4, new Float32Array(4));
            const routing = { experts: 6, topK: 2, ids: routes, routes };
            const layer = change(uploadLayer(graph, c, data));
            return experts(graph, padded(graph, c.hidden, data.x), routing, layer, { gate: "silu" });
          },
          () => Promise.resolve(""),
        )
        .catch((error: unknown) => String(error));
    const cut = (l: Linear): Linear => ({ ...l, parts: l.parts.map((p) => ({ ...p, rowCount: p.rowCount - 1 })) });
    expect(await refusal((l) => ({ ...l, gateUp: cut(l.gateUp) }))).toContain("a part cuts an expert of 40 rows");
    expect(await refusal((l) => ({ ...l, down: cut(l.down) }))).toContain("a part cuts an expert of 36 rows");
    expect(await refusal((l) => ({ ...l, slots: 5 }))).toContain("240 rows of 5 experts");
    expect(await refusal((l) => ({ ...l, slots: 513 }))).toContain("513 experts");
    expect(await refusal((l) => ({ ...l, gateUp: l.down }))).toContain("input of 36 for 20 columns");
  });

  it("refuses a batch of more pairs than a grid holds", async () => {
    const c: MoeCase = { tokens: 1, recorded: 2048, ...small };
    const data = makeData(c);
    const drawn = (topK: number): Promise<string> =>
      bench
        .run(
          setupOf(c, {}),
          (graph) => {
            const routes = graph.tensor("rows", 2 * topK);
            const routing = { experts: 6, topK, ids: routes, routes };
            return experts(graph, graph.tensor("rows", c.hidden), routing, uploadLayer(graph, c, data), {
              gate: "silu",
            });
          },
          () => Promise.resolve("drawn"),
        )
        .catch((error: unknown) => String(error));
    expect(await drawn(32)).toContain("65536 pairs of a row and an expert, at most 65535");
    expect(await drawn(31)).toBe("drawn");
  });
});
