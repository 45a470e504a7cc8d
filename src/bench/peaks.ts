import readWgsl from "../../shaders/peak_read.wgsl?raw";
import multiplyWgsl from "../../shaders/peak_multiply.wgsl?raw";
import touchWgsl from "../../shaders/peak_touch.wgsl?raw";
import type { Rehearsal, WeightPool } from "../engine/rehearsal.ts";
import type { Gpu } from "../gpu/device.ts";
import { submit } from "../gpu/pass.ts";
import { slope, type SlopeOptions, type Stopwatch } from "../gpu/timing.ts";
import type { Range } from "../kernels/batch.ts";
import { fold } from "../kernels/fill.ts";
import type { Graph, Tensor } from "../kernels/graph.ts";
import type { Peaks } from "./roofline.ts";

/** Reads a range once; a lane has `perLane` vectors of 16 bytes. Returns what keeps the loads alive, u32. */
export function peakRead(graph: Graph, data: Range, perLane: number): Tensor {
  const count = data.size / 16;
  const grid = fold(Math.ceil(count / (256 * perLane)));
  const lanes = grid[0] * grid[1] * 256;
  const out = graph.tensor("one", lanes);
  graph.dispatch(
    {
      name: "peak_read",
      wgsl: readWgsl,
      params: { count: "u32", perLane: "u32", lanes: "u32" },
      bindings: [
        { name: "data", access: "read", type: "array<vec4u>" },
        { name: "out", access: "read_write", type: "array<u32>" },
      ],
    },
    { count, perLane, lanes },
    { data, out },
    grid,
  );
  return out;
}

/** 256 · rounds operations in each of `lanes` lanes, in f32 or f16: [1, lanes] f32. */
export function peakMultiply(graph: Graph, lanes: number, rounds: number, f16 = false): Tensor {
  const out = graph.tensor("one", lanes);
  graph.dispatch(
    {
      name: f16 ? "peak_multiply f16" : "peak_multiply f32",
      wgsl: multiplyWgsl,
      fragments: [f16 ? "alias E = f16;\nalias V = vec4<f16>;" : "alias E = f32;\nalias V = vec4f;"],
      ...(f16 && { enables: ["f16"] as const }),
      params: { rounds: "u32", lanes: "u32", factor: "f32", addend: "f32" },
      bindings: [{ name: "out", access: "read_write", type: "array<f32>" }],
    },
    { rounds, lanes, ...RECURRENCE },
    { out },
    fold(Math.ceil(lanes / 256)),
  );
  return out;
}

/** x ← factor · x + addend stays between 2 and 10 from any start of the kernel's: no overflow, no subnormals. */
export const RECURRENCE = { factor: 0.75, addend: 0.5 } as const;

/** Adds one to a counter. */
export function peakTouch(graph: Graph, out: Tensor): void {
  graph.dispatch(
    {
      name: "peak_touch",
      wgsl: touchWgsl,
      params: {},
      bindings: [{ name: "out", access: "read_write", type: "array<u32>" }],
    },
    {},
    { out },
    [1],
  );
}

export interface PeakOptions extends SlopeOptions {
  /** A software device computes on the CPU: less work shows the same. */
  readonly small?: boolean;
}

/** Measures the peaks. The pool should be larger than the device's cache, or its read rate is the cache's. */
export async function measurePeaks(
  gpu: Gpu,
  rehearsal: Rehearsal,
  pool: WeightPool,
  stopwatch: Stopwatch,
  options: PeakOptions = {},
): Promise<Peaks> {
  const time = async (draw: (graph: Graph) => void): Promise<number> => {
    const { programs } = await rehearsal.record(1, draw);
    return (await slope((repeats) => stopwatch.pass(programs, repeats), options)).ms;
  };
  const limit = gpu.device.limits.maxStorageBufferBindingSize;
  const [data] = pool.sets(Math.min(pool.bytes, Math.floor(limit / 256) * 256), 1);
  // The best of a few ways to share the work out: a peak is what can be reached at all.
  const reads = [];
  for (const perLane of options.small ? [16] : [4, 16, 64])
    reads.push(await time((g) => void peakRead(g, data!, perLane)));
  const lanes = options.small ? 1 << 12 : 1 << 19;
  const rounds = options.small ? 32 : 128;
  const gflops = (ms: number): number => (256 * rounds * lanes) / (ms * 1e6);
  const f32 = await time((graph) => void peakMultiply(graph, lanes, rounds));
  const f16 = gpu.info.shaderF16 ? await time((graph) => void peakMultiply(graph, lanes, rounds, true)) : null;
  const touch = await time((graph) => peakTouch(graph, graph.tensor("one", 1)));
  return {
    readGBs: data!.size / (Math.min(...reads) * 1e6),
    f32GFLOPs: gflops(f32),
    f16GFLOPs: f16 === null ? null : gflops(f16),
    dispatchUs: touch * 1000,
    submitUs: await submitCost(gpu, rehearsal, options),
  };
}

/** Microseconds of one more submit, by the host's clock: each has a pass of one dispatch. */
async function submitCost(gpu: Gpu, rehearsal: Rehearsal, options: SlopeOptions): Promise<number> {
  const { programs } = await rehearsal.record(1, (graph) => peakTouch(graph, graph.tensor("one", 1)));
  const time = async (submits: number): Promise<number> => {
    const begun = performance.now();
    for (let i = 0; i < submits; i++) submit(gpu, programs);
    await gpu.queue.onSubmittedWorkDone();
    return performance.now() - begun;
  };
  await time(1);
  return 1000 * (await slope(time, options)).ms;
}
