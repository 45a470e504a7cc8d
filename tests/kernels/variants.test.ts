/** Every variant of every kernel, composed and compiled on a device that has no more than WebGPU promises. */
import { afterAll, describe, expect, it } from "vitest";
import { lintWgsl } from "../../scripts/lib/wgsl-lint.mjs";
import { Usage } from "../../src/gpu/arena.ts";
import { attention, attentionPartial, copyPages, ropeWrite } from "../../src/kernels/attention.ts";
import { createBatch, type Batch, type CacheView } from "../../src/kernels/batch.ts";
import { composeWgsl, Pipelines } from "../../src/kernels/define.ts";
import { Graph } from "../../src/kernels/graph.ts";
import { embed, linear, type Linear } from "../../src/kernels/linear.ts";
import { repackGrid, repackParams, repackSource } from "../../src/kernels/repack.ts";
import { advance, sample, score } from "../../src/kernels/sample.ts";
import { DENSE_FORMATS } from "../../src/weights/quant/dense.ts";
import type { WeightLayout } from "../../src/weights/quant/layout.ts";
import { openNullGpu } from "../support/null-gpu.ts";

const gpu = await openNullGpu();
afterAll(() => {
  gpu?.device.destroy();
});

interface Drawing {
  name: string;
  draw(graph: Graph, range: Linear["parts"][0]["weights"]): void;
}

const flags = (n: number): boolean[][] =>
  Array.from({ length: 2 ** n }, (_, bits) => Array.from({ length: n }, (_, i) => ((bits >> i) & 1) === 1));

const layer = (layout: WeightLayout, weights: Linear["parts"][0]["weights"], bias = false): Linear => ({
  name: "test",
  inFeatures: 64,
  outFeatures: 64,
  layout,
  parts: [{ weights, rowStart: 0, rowCount: 64 }],
  ...(bias && { bias: weights }),
});

const LAYOUTS: WeightLayout[] = [...DENSE_FORMATS, "q8", "q4"];

const linears = LAYOUTS.flatMap((layout) =>
  flags(5).map(([norm, bias, residual, swiglu, gather]): Drawing => ({
    name: `linear ${layout} ${[norm, bias, residual, swiglu, gather].map(Number).join("")}`,
    draw: (graph, range) =>
      linear(graph, graph.tensor("rows", 64), layer(layout, range, bias), {
        ...(norm && { norm: { gain: range, eps: 1e-5 } }),
        ...(residual && { residual: graph.tensor(gather ? "samples" : "rows", swiglu ? 32 : 64) }),
        ...(swiglu && { swiglu }),
        ...(gather && { gather }),
      }),
  })),
);

/** Key heads and query heads; the last are more than a workgroup takes at any width. */
const HEADS = [
  [1, 1],
  [2, 8],
  [1, 32],
  [8, 64],
  [3, 9],
  [1, 71],
] as const;

/** Every head width that a config may have. */
const HEAD_DIMS = Array.from({ length: 128 }, (_, i) => 4 * (i + 1));

const caches = (["f32", "f16"] as const).flatMap((format) =>
  HEAD_DIMS.map((headDim, i): Drawing => {
    const [kvHeads, heads] = HEADS[format === "f32" ? HEADS.length - 1 : i % HEADS.length]!;
    return {
      name: `${format} cache, ${heads}/${kvHeads} heads of ${headDim}`,
      draw: (graph, pool) => {
        const layers = [{ pool, valueOffset: 0 }];
        const cache: CacheView = { kind: "kv", format, pageSize: 32, heads: kvHeads, headDim, layers };
        const qkv = graph.tensor("rows", (heads + 2 * kvHeads) * headDim);
        const q = ropeWrite(graph, qkv, cache, 0, heads, { dim: headDim, near: pool, far: pool });
        attention(graph, q, cache, 0, { scale: 1 });
        if (i % 4 === 0) attention(graph, q, cache, 0, { scale: 1, causal: false });
        if (i % 4 === 1) attentionPartial(graph, q, cache, 0, { scale: 1 });
        copyPages(graph, cache);
      },
    };
  }),
);

const repacks = DENSE_FORMATS.flatMap((from) =>
  LAYOUTS.map((to): Drawing => ({
    name: `repack ${from} to ${to}`,
    draw: (graph, weights) => {
      const target = { weights, layout: to, columns: 64, firstRow: 0, rowStep: 1 };
      const bindings = { staging: weights, weights };
      graph.dispatch(repackSource(from, to), repackParams(target, 1), bindings, repackGrid(target, 1));
    },
  })),
);

const DRAWINGS: Drawing[] = [
  ...linears,
  ...caches,
  ...repacks,
  ...LAYOUTS.map((layout): Drawing => ({
    name: `embed ${layout}`,
    draw: (graph, range) => embed(graph, layer(layout, range)),
  })),
  ...[5, 1024, 1025, 262_144].map((vocab): Drawing => ({
    name: `sampling of ${vocab}`,
    draw: (graph) => {
      const logits = graph.tensor("samples", vocab);
      sample(graph, logits);
      score(graph, logits);
      advance(graph);
    },
  })),
];

async function recordAll(): Promise<{ pipelines: Pipelines; graphs: { name: string; graph: Graph }[] }> {
  const pipelines = new Pipelines(gpu!.device);
  const limits = { rows: 64, slots: 8, samples: 8, pagesPerSequence: 8, vocabSize: 64 };
  const batch: Batch = await createBatch(gpu!.arena, limits);
  const buffer = await gpu!.arena.allocate("weights", "test", 1 << 16, Usage.storage);
  const range = { buffer, offset: 0, size: buffer.size };
  const graphs = DRAWINGS.flatMap(({ name, draw }) =>
    [1, 8].map((rows) => {
      const graph = new Graph(pipelines, batch, rows, rows);
      draw(graph, range);
      return { name, graph };
    }),
  );
  return { pipelines, graphs };
}

describe.skipIf(gpu === null)("every kernel variant", async () => {
  const { pipelines, graphs } = gpu ? await recordAll() : { pipelines: null, graphs: [] };
  const sources = [...new Map(graphs.flatMap((g) => g.graph.ops.map((op) => [op.kernel, op.kernel.source]))).values()];

  it("compiles within the limits that every device has", async () => {
    expect(pipelines!.size).toBeGreaterThan(500);
    await pipelines!.compile();
    expect(gpu!.failure).toBeUndefined();
  });

  it("binds at most 8 storage buffers, each as it is used", () => {
    for (const source of sources) {
      expect(source.bindings.length).toBeLessThanOrEqual(8);
      const code = composeWgsl(source);
      for (const { name, access } of source.bindings) {
        const assigned = new RegExp(`\\b${name}\\[[^;]*\\](\\.\\w+)? (=|\\+=) `).test(code);
        expect([source.name, name, access]).toEqual([source.name, name, assigned ? "read_write" : "read"]);
      }
    }
  });

  it("keeps the rules of WGSL that no compiler holds", () => {
    expect(sources.flatMap((source) => lintWgsl(source.name, composeWgsl(source)))).toEqual([]);
  });

  it("puts nothing but numbers and switches into its source", () => {
    for (const { constants = {} } of sources) {
      expect(Object.values(constants).every((v) => typeof v === "boolean" || Number.isInteger(v))).toBe(true);
    }
  });

  it.each([16, 48, 0])("refuses pages of %i, which tiles of keys do not fit", (pageSize) => {
    const { graph } = graphs[0]!;
    const cache: CacheView = { kind: "kv", format: "f32", pageSize, heads: 1, headDim: 8, layers: [] };
    expect(() => attention(graph, { id: 0, extent: "rows", width: 8 }, cache, 0, { scale: 1 })).toThrow(
      `pages of ${pageSize} for tiles of 32`,
    );
  });

  it.each([
    ["linear", 1],
    ["embed", 1],
    ["sampling", 4],
  ])("%s takes %i dispatches", (kernel, dispatches) => {
    for (const { name, graph } of graphs) {
      if (name.startsWith(kernel)) expect([name, graph.ops.length]).toEqual([name, dispatches]);
    }
  });
});
