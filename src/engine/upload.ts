import { invariant, roundUp } from "../base/assert.ts";
import type { ByteFile } from "../base/bytes.ts";
import { Usage } from "../gpu/arena.ts";
import type { Gpu } from "../gpu/device.ts";
import { submit } from "../gpu/pass.ts";
import type { Batch } from "../kernels/batch.ts";
import { packParams, type Kernel } from "../kernels/define.ts";
import type { Linear, LinearPart } from "../kernels/linear.ts";
import { repackGrid, repackParams, type RepackTarget } from "../kernels/repack.ts";
import { transposeGrid, type Strip } from "../kernels/transpose.ts";
import type { TensorPlacement } from "../models/family.ts";
import type { CheckpointTensor } from "../weights/checkpoint.ts";

/** Bytes of a chunk on its way to the GPU; rows longer than half of this make it larger. */
export const STAGING_BYTES = 4 << 20;
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
      const rows = tensor.shape.slice(0, -1).reduce((product, n) => product * n, 1);
      const rowBytes = size / rows;
      // An even number of rows: two halves of a word are of two rows where a matrix is turned.
      const chunkBytes = Math.min(size, Math.max(1, Math.floor(STAGING_BYTES / rowBytes / 2)) * 2 * rowBytes);
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
    /** The matrix that is being turned, in its published format. */
    private readonly turned: GPUBuffer | undefined,
  ) {}

  static async create(
    gpu: Gpu,
    compiled: Promise<void>,
    batch: Batch,
    largestRow: number,
    largestTurned: number,
  ): Promise<Uploader> {
    const size = Math.max(STAGING_BYTES, 2 * largestRow);
    const staging = await gpu.arena.allocate("staging", "weights", size, Usage.storage | Usage.copyDst);
    const params = await gpu.arena.allocate("staging", "repack", 32, Usage.uniform | Usage.copyDst);
    const turned = largestTurned
      ? await gpu.arena.allocate("staging", "turned", largestTurned, Usage.storage)
      : undefined;
    return new Uploader(gpu, compiled, batch, staging, params, turned);
  }

  /** Whole rows of a published tensor into the parts of its layer, those that are placed. `bytes` starts `offset` bytes into it. */
  async rows(
    layer: Linear,
    placement: TensorPlacement,
    kernel: Kernel,
    bytes: Uint8Array,
    offset: number,
    bytesPerValue: number,
  ): Promise<void> {
    await this.compiled;
    const { fromRow = 0, fromColumn = 0, tensorColumns = layer.inFeatures, firstRow, rowStep } = placement;
    const rowBytes = tensorColumns * bytesPerValue;
    const chunkRow = offset / rowBytes; // of the tensor
    const last = Math.min(fromRow + placement.rows, chunkRow + bytes.byteLength / rowBytes);
    for (let row = Math.max(fromRow, chunkRow); row < last;) {
      const global = firstRow + (row - fromRow) * rowStep;
      const part = layer.parts.find((p) => global >= p.rowStart && global < p.rowStart + p.rowCount)!;
      const room = Math.ceil((part.rowStart + part.rowCount - global) / rowStep);
      const rows = Math.min(room, last - row);
      const target = targetOf(layer, part, global - part.rowStart, rowStep);
      const whole = bytes.subarray((row - chunkRow) * rowBytes, (row - chunkRow + rows) * rowBytes);
      this.stage(columnsOf(whole, rowBytes, fromColumn * bytesPerValue, layer.inFeatures * bytesPerValue));
      await this.repack(kernel, target, { buffer: this.staging }, rows);
      row += rows;
    }
  }

  /**
   * A strip of a matrix that is published transposed, or of a stack of such: turned and gathered on the GPU, in the
   * published format, and each matrix repacked once it is whole.
   */
  async strip(
    layer: Linear,
    turn: Kernel,
    kernel: Kernel,
    bytes: Uint8Array,
    offset: number,
    bytesPerValue: number,
    stack = 1,
  ): Promise<void> {
    await this.compiled;
    const { inFeatures } = layer;
    const outFeatures = layer.outFeatures / stack;
    const rowBytes = outFeatures * bytesPerValue;
    const last = (offset + bytes.byteLength) / rowBytes;
    for (let row = offset / rowBytes; row < last;) {
      const [index, firstRow] = [Math.floor(row / inFeatures), row % inFeatures];
      const rows = Math.min(inFeatures - firstRow, last - row);
      const begin = row * rowBytes - offset;
      this.stage(bytes.subarray(begin, begin + rows * rowBytes));
      let at = 0;
      for (const { part, first, rowStart, rowCount } of piecesOf(layer, stack, index)) {
        const size = rowCount * inFeatures * bytesPerValue;
        const place: GPUBufferBinding = { buffer: this.turnedBuffer(), offset: at, size };
        const strip: Strip = { inFeatures, outFeatures, firstRow, rows, rowStart, rowCount };
        await this.run(turn, { ...strip }, [{ buffer: this.staging }, place], transposeGrid(strip));
        if (firstRow + rows === inFeatures) await this.repack(kernel, targetOf(layer, part, first, 1), place, rowCount);
        at += roundUp(size, OFFSET_BYTES);
      }
      row += rows;
    }
  }

  private turnedBuffer(): GPUBuffer {
    invariant(this.turned, "no buffer to turn a matrix in");
    return this.turned;
  }

  /** Writes go four bytes at a time; what follows the chunk in the staging buffer is never read. */
  private stage(bytes: Uint8Array): void {
    const padded = bytes.byteLength % 4 ? new Uint8Array(roundUp(bytes.byteLength, 4)) : bytes;
    if (padded !== bytes) padded.set(bytes);
    this.gpu.queue.writeBuffer(this.staging, 0, padded as Uint8Array<ArrayBuffer>);
  }

  private repack(kernel: Kernel, target: RepackTarget, source: GPUBufferBinding, rows: number): Promise<void> {
    return this.run(kernel, repackParams(target, rows), [source, target.weights], repackGrid(target, rows));
  }

  private async run(
    kernel: Kernel,
    params: Record<string, number>,
    buffers: readonly GPUBufferBinding[],
    grid: readonly [number, number, number],
  ): Promise<void> {
    const { device, queue } = this.gpu;
    queue.writeBuffer(this.params, 0, packParams(kernel.source, params));
    const resources: GPUBufferBinding[] = [{ buffer: this.params }, this.batch.header, ...buffers];
    const bindGroup = device.createBindGroup({
      layout: kernel.layout,
      entries: resources.map((resource, binding) => ({ binding, resource })),
    });
    submit(this.gpu, [[{ label: kernel.source.name, pipeline: kernel, bindGroup, grid }]]);
    if (++this.queued % CHUNKS_UNDER_WAY === 0) await queue.onSubmittedWorkDone();
  }

  free(): void {
    this.gpu.arena.free(this.staging);
    this.gpu.arena.free(this.params);
    if (this.turned) this.gpu.arena.free(this.turned);
  }
}

function targetOf(layer: Linear, part: LinearPart, firstRow: number, rowStep: number): RepackTarget {
  return { weights: part.weights, layout: layer.layout, columns: layer.inFeatures, firstRow, rowStep };
}

/** Alignment of a storage binding within a buffer. */
const OFFSET_BYTES = 256;

/** What `strip` needs for a layer: its parts one behind another, or one matrix of a stack, in the published format. */
export function turnedBytes(layer: Linear, bytesPerValue: number, stack = 1): number {
  return piecesOf(layer, stack, 0).reduce(
    (n, { rowCount }) => n + roundUp(rowCount * layer.inFeatures * bytesPerValue, OFFSET_BYTES),
    0,
  );
}

/** Where the rows [rowStart, rowStart + rowCount) of a matrix go: to the rows of a part from `first` on. */
interface TurnedPiece {
  readonly part: LinearPart;
  readonly first: number;
  readonly rowStart: number;
  readonly rowCount: number;
}

/** A matrix may have several parts; the matrices of a stack lie whole in one. */
function piecesOf(layer: Linear, stack: number, index: number): TurnedPiece[] {
  if (stack === 1) return layer.parts.map((part) => ({ part, first: 0, ...rowsOf(part) }));
  const rowCount = layer.outFeatures / stack;
  const row = index * rowCount;
  const part = layer.parts.find((p) => row >= p.rowStart && row + rowCount <= p.rowStart + p.rowCount);
  invariant(part, `${layer.name}: a part cuts a matrix of ${rowCount} rows`);
  return [{ part, first: row - part.rowStart, rowStart: 0, rowCount }];
}

const rowsOf = ({ rowStart, rowCount }: LinearPart): Pick<TurnedPiece, "rowStart" | "rowCount"> => ({
  rowStart,
  rowCount,
});

/** Some columns of rows. All of them is no copy. */
function columnsOf(rows: Uint8Array, rowBytes: number, from: number, wanted: number): Uint8Array {
  if (wanted === rowBytes) return rows;
  const count = rows.byteLength / rowBytes;
  const some = new Uint8Array(count * wanted);
  for (let i = 0; i < count; i++)
    some.set(rows.subarray(i * rowBytes + from, i * rowBytes + from + wanted), i * wanted);
  return some;
}
