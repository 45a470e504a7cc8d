/** Matrices that are published transposed, in more strips and parts than the small checkpoints of the oracle have. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Uploader, turnedBytes } from "../../src/engine/upload.ts";
import { Usage } from "../../src/gpu/arena.ts";
import { openGpu, type Gpu } from "../../src/gpu/device.ts";
import { createBatch, type Batch } from "../../src/kernels/batch.ts";
import { Pipelines } from "../../src/kernels/define.ts";
import type { Linear, LinearPart } from "../../src/kernels/linear.ts";
import { repackSource } from "../../src/kernels/repack.ts";
import { transposeSource } from "../../src/kernels/transpose.ts";
import { rowWords } from "../../src/weights/quant/layout.ts";
import { readBuffer } from "../support/kernel-bench.ts";

let gpu: Gpu;
let batch: Batch;
beforeAll(async () => {
  gpu = await openGpu();
  batch = await createBatch(gpu.arena, { rows: 4, slots: 1, samples: 1, pagesPerSequence: 1, vocabSize: 4 });
});
afterAll(() => gpu.close());

describe("Uploader.strip", () => {
  it.each([
    { inFeatures: 8, outFeatures: 6, parts: [6], strips: [8] },
    { inFeatures: 8, outFeatures: 6, parts: [4, 2], strips: [2, 6] },
    { inFeatures: 132, outFeatures: 70, parts: [2, 66, 2], strips: [64, 66, 2] },
  ])("brings [$inFeatures, $outFeatures] in strips of $strips into parts of $parts rows", async (c) => {
    const { inFeatures, outFeatures, parts: counts, strips } = c;
    const words = rowWords("f32", inFeatures);
    const parts: LinearPart[] = [];
    for (const rowCount of counts) {
      const size = rowCount * words * 4;
      const buffer = await gpu.arena.allocate("weights", "part", size, Usage.storage | Usage.copySrc);
      const rowStart = parts.reduce((n, p) => n + p.rowCount, 0);
      parts.push({ weights: { buffer, offset: 0, size }, rowStart, rowCount });
    }
    const layer: Linear = { name: "conv1d", inFeatures, outFeatures, layout: "f32", parts };
    const pipelines = new Pipelines(gpu.device);
    const [turn, repack] = [pipelines.get(transposeSource("f32")), pipelines.get(repackSource("f32", "f32"))];
    const value = (k: number, n: number): number => k * 1000 + n + 1;
    const upload = await Uploader.create(gpu, pipelines.compile(), batch, outFeatures * 4, turnedBytes(layer, 4));
    let first = 0;
    for (const rows of strips) {
      const strip = Float32Array.from({ length: rows * outFeatures }, (_, i) =>
        value(first + Math.floor(i / outFeatures), i % outFeatures),
      );
      await upload.strip(layer, turn, repack, new Uint8Array(strip.buffer), first * outFeatures * 4, 4);
      first += rows;
    }
    upload.free();
    for (const { weights, rowStart, rowCount } of parts) {
      const got = new Float32Array(await readBuffer(gpu.device, weights.buffer, weights.size));
      for (let n = 0; n < rowCount; n++) {
        const expected = Array.from({ length: inFeatures }, (_, k) => value(k, rowStart + n));
        expect([...got.subarray(n * words, n * words + inFeatures)]).toEqual(expected);
      }
      gpu.arena.free(weights.buffer);
    }
    expect(gpu.failure).toBeUndefined();
  });
});
