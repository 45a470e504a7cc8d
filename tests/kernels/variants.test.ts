/** Every variant of every kernel, composed and compiled on a device that has no more than WebGPU promises. */
import { afterAll, describe, expect, it } from "vitest";
import { lintWgsl } from "../../scripts/lib/wgsl-lint.mjs";
import { Usage } from "../../src/gpu/arena.ts";
import { attention } from "../../src/kernels/attention.ts";
import { createBatch, type Batch, type CacheView } from "../../src/kernels/batch.ts";
import { composeWgsl, Pipelines } from "../../src/kernels/define.ts";
import { Graph } from "../../src/kernels/graph.ts";
import { openNullGpu } from "../support/null-gpu.ts";
import type { Drawing } from "./variants/drawing.ts";

const gpu = await openNullGpu();
afterAll(() => {
  gpu?.device.destroy();
});

/** What each file of variants/ exports. */
const modules = import.meta.glob<{ drawings?: Drawing[] }>("./variants/*.ts", { eager: true });
const DRAWINGS = Object.values(modules).flatMap((module) => module.drawings ?? []);

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

  it("compiles within the limits that every device has", { timeout: 180_000 }, async () => {
    expect(pipelines!.size).toBeGreaterThan(500);
    await pipelines!.compile();
    expect(gpu!.failure).toBeUndefined();
  });

  it("binds at most 8 storage buffers, each as it is used", () => {
    for (const source of sources) {
      expect(source.bindings.length).toBeLessThanOrEqual(8);
      const code = composeWgsl(source);
      for (const { name, access } of source.bindings) {
        const assigned = new RegExp(`\\b${name}\\[[^;]*\\](\\.\\w+)? (=|\\+=) |atomic\\w+\\(&${name}\\[`).test(code);
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
