import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { Usage } from "../../src/gpu/arena.ts";
import { openGpu, type Gpu } from "../../src/gpu/device.ts";
import { submit } from "../../src/gpu/pass.ts";
import { createBatch, type Batch, type Range } from "../../src/kernels/batch.ts";
import { Pipelines, type KernelSource } from "../../src/kernels/define.ts";
import { Graph, GraphBuffers, type Tensor } from "../../src/kernels/graph.ts";
import { Random } from "../reference/random.ts";
import { readBuffer } from "../support/kernel-bench.ts";

let gpu: Gpu;
let batch: Batch;
let pipelines: Pipelines;
/** The number 1, four times. */
let ones: Range;

beforeAll(async () => {
  gpu = await openGpu();
  pipelines = new Pipelines(gpu.device);
  batch = await createBatch(gpu.arena, { rows: 8, slots: 8, samples: 8, pagesPerSequence: 1, vocabSize: 32 });
  const buffer = await gpu.arena.allocate("weights", "ones", 16, Usage.storage | Usage.copyDst);
  gpu.queue.writeBuffer(buffer, 0, new Float32Array(4).fill(1));
  ones = { buffer, offset: 0, size: 16 };
});
afterAll(() => gpu.close());

beforeEach(() => {
  gpu.device.pushErrorScope("validation");
});
afterEach(async () => {
  expect((await gpu.device.popErrorScope())?.message).toBeUndefined();
  expect(gpu.failure).toBeUndefined();
});

/** y[i] = a[i mod a] + 2 · b[i mod b]: either may be a tensor or a range. */
const ADD: KernelSource = {
  name: "add",
  params: { a: "u32", b: "u32", y: "u32" },
  bindings: [
    { name: "a", access: "read", type: "array<f32>" },
    { name: "b", access: "read", type: "array<f32>" },
    { name: "y", access: "read_write", type: "array<f32>" },
  ],
  wgsl: `@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
    if (id.x < params.y) { y[id.x] = a[id.x % params.a] + 2.0 * b[id.x % params.b]; }
  }`,
};

function add(graph: Graph, a: Tensor | Range, b: Tensor | Range, extent: Tensor["extent"], width: number): Tensor {
  const y = graph.tensor(extent, width);
  const size = (of: Tensor | Range): number => ("extent" in of ? graph.count(of.extent) * of.width : of.size / 4);
  const count = graph.count(extent) * width;
  graph.dispatch(ADD, { a: size(a), b: size(b), y: count }, { a, b, y }, [Math.ceil(count / 64)]);
  return y;
}

async function read(range: Range): Promise<number[]> {
  return [...new Float32Array(await readBuffer(gpu.device, range.buffer, range.size))];
}

/** A random graph of sums and what each of its outputs is, every element of a tensor being the same number. */
function randomGraph(
  random: Random,
  rows: number,
  samples: number,
): { graph: Graph; outputs: readonly [[Tensor, number], [Tensor, number]] } {
  const graph = new Graph(pipelines, batch, rows, samples);
  const known: [Tensor | Range, number][] = [[ones, 1]];
  for (let i = 0; i < 14; i++) {
    // Mostly recent ones, so that others end their life.
    const pick = (): [Tensor | Range, number] => known[Math.max(0, known.length - 1 - random.below(4))]!;
    const [[a, x], [b, y]] = [pick(), pick()];
    const extent = random.below(3) ? "rows" : "samples";
    known.push([add(graph, a, b, extent, 4 * (1 + random.below(20))), x + 2 * y]);
  }
  const tensors = known.slice(1) as [Tensor, number][];
  return { graph, outputs: [tensors.at(-1)!, tensors[random.below(14)]!] };
}

describe("Graph", () => {
  it("refuses a grid that WebGPU does not have, and bindings that are not the kernel's", () => {
    const graph = new Graph(pipelines, batch, 1, 1);
    const bindings = { a: ones, b: ones, y: graph.tensor("rows", 4) };
    const params = { a: 4, b: 4, y: 4 };
    for (const grid of [[0], [65536], [1, 65536], [1.5], [NaN], [1, 1, 0]] as const) {
      expect(() => graph.dispatch(ADD, params, bindings, [...grid] as [number])).toThrow(/kernel add: grid/);
    }
    const { a, ...fewer } = bindings;
    expect(() => graph.dispatch(ADD, params, fewer, [1])).toThrow(/kernel add binds a, b, y; given b, y/);
    expect(() => graph.dispatch(ADD, params, { ...bindings, c: a }, [1])).toThrow(/given a, b, y, c/);
    expect(graph.ops).toHaveLength(0);
  });
});

describe("GraphBuffers", () => {
  it("runs random graphs in shared buffers as if each tensor had its own", async () => {
    const random = new Random(5);
    const shapes = [1, 8, 3, 8].flatMap((rows) => [1, 5].map((samples) => randomGraph(random, rows, samples)));
    const graphs = shapes.map(({ graph, outputs: [last, other] }) => ({
      graph,
      outputs: { last: last[0], other: other[0] },
    }));
    await pipelines.compile();
    const before = gpu.arena.byKind();
    const buffers = new GraphBuffers(gpu.device, gpu.arena);
    await buffers.reserve(graphs);
    const held = gpu.arena.byKind()["activations"]! - (before["activations"] ?? 0);
    // Fourteen tensors of up to 8 × 80 each, in a few buffers.
    expect(held).toBeLessThan(14 * 8 * 80 * 4);
    const programs = await Promise.all(graphs.map(({ graph, outputs }) => buffers.program(graph, outputs)));
    for (const round of [0, 1]) {
      for (const [i, program] of programs.entries()) {
        submit(gpu, [program.dispatches]);
        const expected = shapes[i]!.outputs.map(([tensor, value]) =>
          new Array<number>(shapes[i]!.graph.count(tensor.extent) * tensor.width).fill(value),
        );
        const found = [await read(program.outputs["last"]!), await read(program.outputs["other"]!)];
        expect([round, i, found]).toEqual([round, i, expected]);
      }
    }
  });

  it("needs two buffers for a chain and three where the first tensor is read last", async () => {
    const make = (residual: boolean): Graph => {
      const graph = new Graph(pipelines, batch, 4, 1);
      const first = add(graph, ones, ones, "rows", 8);
      let x = first;
      for (let i = 0; i < 5; i++) x = add(graph, x, ones, "rows", 8);
      if (residual) add(graph, x, first, "rows", 8);
      return graph;
    };
    for (const [residual, count] of [
      [false, 2],
      [true, 3],
    ] as const) {
      const before = gpu.arena.byKind()["activations"] ?? 0;
      await new GraphBuffers(gpu.device, gpu.arena).reserve([{ graph: make(residual), outputs: {} }]);
      expect(gpu.arena.byKind()["activations"]! - before).toBe(count * 4 * 8 * 4);
    }
  });

  it("refuses a program that needs more than was reserved", async () => {
    const small = new Graph(pipelines, batch, 1, 1);
    add(small, ones, ones, "rows", 4);
    const large = new Graph(pipelines, batch, 8, 1);
    add(large, ones, ones, "rows", 4);
    const buffers = new GraphBuffers(gpu.device, gpu.arena);
    await buffers.reserve([{ graph: small, outputs: {} }]);
    await expect(buffers.program(large)).rejects.toThrow(/more than was reserved/);
  });
});
