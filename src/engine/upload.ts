import { invariant, roundUp } from "../base/assert.ts";
import type { ByteFile } from "../base/bytes.ts";
import { Usage } from "../gpu/arena.ts";
import type { Gpu } from "../gpu/device.ts";
import { submit } from "../gpu/pass.ts";
import type { Batch } from "../kernels/batch.ts";
import { packParams, type Kernel } from "../kernels/define.ts";
import type { Linear } from "../kernels/linear.ts";
import { repackGrid, repackParams, type RepackTarget } from "../kernels/repack.ts";
import type { TensorPlacement } from "../models/family.ts";
import type { CheckpointTensor } from "../weights/checkpoint.ts";

/** Bytes of a chunk on its way to the GPU; rows longer than this make it larger. */
const STAGING_BYTES = 4 << 20;
/** Chunks that may be queued before the GPU is waited for. */
const CHUNKS_UNDER_WAY = 4;

/** Tensors of one file that one forward read brings. */
export interface Run {
  readonly file: ByteFile;
  readonly tensors: CheckpointTensor[];
}

interface Chunk {
  readonly tensor: CheckpointTensor;
  /** Whole rows of it, [offset, offset + bytes.length) of its bytes. Valid until the next chunk. */
  readonly bytes: Uint8Array;
  readonly offset: number;
}

/** Cuts a run's stream into chunks of whole rows, none larger than the staging buffer, through one host buffer. */
export async function* cut(run: Run, signal?: AbortSignal): AsyncGenerator<Chunk> {
  const begin = run.tensors[0]!.begin;
  const source = run.file.stream(begin, run.tensors.at(-1)!.end, signal)[Symbol.asyncIterator]();
  let piece = new Uint8Array(0);
  let position = begin; // of the first byte of `piece` in the file
  const advance = async (): Promise<void> => {
    position += piece.byteLength;
    const next = await source.next();
    invariant(!next.done, "a stream ended before its range");
    piece = next.value as Uint8Array<ArrayBuffer>;
  };
  let buffer = new Uint8Array(0);
  try {
    for (const tensor of run.tensors) {
      const size = tensor.end - tensor.begin;
      const rowBytes = tensor.shape.length > 1 ? size / tensor.shape[0]! : size;
      const chunkBytes = Math.min(size, Math.max(1, Math.floor(STAGING_BYTES / rowBytes)) * rowBytes);
      if (buffer.byteLength < chunkBytes) buffer = new Uint8Array(roundUp(chunkBytes, 4));
      for (let offset = 0; offset < size;) {
        const length = Math.min(chunkBytes, size - offset);
        for (let filled = 0; filled < length;) {
          const at = tensor.begin + offset + filled;
          while (position + piece.byteLength <= at) await advance();
          const part = piece.subarray(at - position, at - position + length - filled);
          buffer.set(part, filled);
          filled += part.byteLength;
        }
        yield { tensor, bytes: buffer.subarray(0, length), offset };
        offset += length;
      }
    }
  } finally {
    await source.return?.();
  }
}

/** The GPU's side of streaming: staging, and the repacking kernels for each pair of formats. */
export class Uploader {
  private queued = 0;

  private constructor(
    private readonly gpu: Gpu,
    /** Bytes may be on their way from the network while the kernels still compile. */
    private readonly compiled: Promise<void>,
    private readonly batch: Batch,
    private readonly staging: GPUBuffer,
    private readonly params: GPUBuffer,
  ) {}

  static async create(gpu: Gpu, compiled: Promise<void>, batch: Batch, largestRow: number): Promise<Uploader> {
    const size = Math.max(STAGING_BYTES, largestRow);
    const staging = await gpu.arena.allocate("staging", "weights", size, Usage.storage | Usage.copyDst);
    const params = await gpu.arena.allocate("staging", "repack", 32, Usage.uniform | Usage.copyDst);
    return new Uploader(gpu, compiled, batch, staging, params);
  }

  /** Whole rows of a published tensor into the parts of its layer. `bytes` starts `offset` bytes into the tensor. */
  async rows(
    layer: Linear,
    placement: TensorPlacement,
    kernel: Kernel,
    bytes: Uint8Array,
    offset: number,
    bytesPerValue: number,
  ): Promise<void> {
    await this.compiled;
    const rowBytes = layer.inFeatures * bytesPerValue;
    let row = offset / rowBytes;
    for (let at = 0; at < bytes.byteLength;) {
      const global = placement.firstRow + row * placement.rowStep;
      const part = layer.parts.find((p) => global >= p.rowStart && global < p.rowStart + p.rowCount)!;
      const room = Math.ceil((part.rowStart + part.rowCount - global) / placement.rowStep);
      const rows = Math.min(room, (bytes.byteLength - at) / rowBytes);
      const target: RepackTarget = {
        weights: part.weights,
        layout: layer.layout,
        columns: layer.inFeatures,
        firstRow: global - part.rowStart,
        rowStep: placement.rowStep,
      };
      await this.chunk(kernel, target, bytes.subarray(at, at + rows * rowBytes), rows);
      at += rows * rowBytes;
      row += rows;
    }
  }

  private async chunk(kernel: Kernel, target: RepackTarget, bytes: Uint8Array, rows: number): Promise<void> {
    const { device, queue } = this.gpu;
    // Writes go four bytes at a time; what follows the chunk in the staging buffer is never read.
    const padded = bytes.byteLength % 4 ? new Uint8Array(roundUp(bytes.byteLength, 4)) : bytes;
    if (padded !== bytes) padded.set(bytes);
    queue.writeBuffer(this.staging, 0, padded as Uint8Array<ArrayBuffer>);
    queue.writeBuffer(this.params, 0, packParams(kernel.source, repackParams(target, rows)));
    const whole = (buffer: GPUBuffer): GPUBufferBinding => ({ buffer });
    const bindGroup = device.createBindGroup({
      layout: kernel.layout,
      entries: [whole(this.params), this.batch.header, whole(this.staging), target.weights].map(
        (resource, binding) => ({
          binding,
          resource,
        }),
      ),
    });
    submit(this.gpu, [[{ label: "repack", pipeline: kernel, bindGroup, grid: repackGrid(target, rows) }]]);
    if (++this.queued % CHUNKS_UNDER_WAY === 0) await queue.onSubmittedWorkDone();
  }

  free(): void {
    this.gpu.arena.free(this.staging);
    this.gpu.arena.free(this.params);
  }
}
