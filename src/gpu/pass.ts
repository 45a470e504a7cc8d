import type { Gpu } from "./device.ts";

/** One recorded dispatch: nothing about it changes from step to step. */
export interface Dispatch {
  /** For messages and profiles, as "kernel" or "kernel (layer 3)". */
  readonly label: string;
  readonly pipeline: { readonly compiled: GPUComputePipeline };
  readonly bindGroup: GPUBindGroup;
  readonly grid: readonly [x: number, y: number, z: number];
}

/** A buffer copy that follows the pass in the same submit: results on their way to the host. */
export interface Copy {
  readonly from: GPUBuffer;
  readonly to: GPUBuffer;
  readonly bytes: number;
  /** Where in each buffer, in bytes; default 0. */
  readonly fromOffset?: number;
  readonly toOffset?: number;
}

/** Replays the programs in one compute pass and submits once. Allocates nothing that grows with their length. */
export function submit(gpu: Gpu, programs: readonly (readonly Dispatch[])[], copies: readonly Copy[] = []): void {
  const encoder = gpu.device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  for (const program of programs) {
    for (const { pipeline, bindGroup, grid } of program) {
      pass.setPipeline(pipeline.compiled);
      pass.setBindGroup(0, bindGroup);
      pass.dispatchWorkgroups(grid[0], grid[1], grid[2]);
    }
    gpu.counters.dispatches += program.length;
  }
  pass.end();
  for (const { from, to, bytes, fromOffset = 0, toOffset = 0 } of copies) {
    encoder.copyBufferToBuffer(from, fromOffset, to, toOffset, bytes);
  }
  gpu.queue.submit([encoder.finish()]);
  gpu.counters.submits += 1;
}
