import { invariant, roundUp } from "../base/assert.ts";
import type { ByteFile } from "../base/bytes.ts";
import { AbortError, WeightsError } from "../base/errors.ts";
import { bf16ToNumber, f16ToNumber } from "../base/half.ts";
import { Usage } from "../gpu/arena.ts";
import type { Gpu } from "../gpu/device.ts";
import { submit } from "../gpu/pass.ts";
import type { Batch, Range } from "../kernels/batch.ts";
import { packParams, type Kernel, type Pipelines } from "../kernels/define.ts";
import type { Linear, LinearPart } from "../kernels/linear.ts";
import { repackGrid, repackParams, repackSource, type RepackTarget } from "../kernels/repack.ts";
import type { LinearSpec, ResidentWeights, TensorPlacement, WeightTable } from "../models/family.ts";
import type { Checkpoint, CheckpointTensor } from "../weights/checkpoint.ts";
import type { DenseFormat } from "../weights/quant/dense.ts";
import { rowWords, type WeightLayout } from "../weights/quant/layout.ts";

const FORMAT_OF: Readonly<Record<string, DenseFormat>> = { F32: "f32", F16: "f16", BF16: "bf16" };
const BYTES_OF: Readonly<Record<DenseFormat, number>> = { f32: 4, f16: 2, bf16: 2 };

/** Bytes of a chunk on its way to the GPU; rows longer than this make it larger. */
const STAGING_BYTES = 4 << 20;
/** Chunks that may be queued before the GPU is waited for. */
const CHUNKS_UNDER_WAY = 4;
/** Bytes between two wanted tensors that are read through rather than asked for anew. */
const GAP_BYTES = 1 << 20;

/** The checkpoint's tensors matched with the family's table, before anything is allocated. */
export interface WeightPlan {
  readonly table: WeightTable;
  readonly checkpoint: Checkpoint;
  /** Resident layout of each linear role. */
  readonly layouts: ReadonlyMap<string, WeightLayout>;
  readonly parameters: number;
  /** Bytes that will be read. */
  readonly bytes: number;
}

/** Checks that every tensor of the table is there, in the right shape and a dtype that is read; throws WeightsError. */
export function planWeights(
  table: WeightTable,
  checkpoint: Checkpoint,
  wanted: WeightLayout | "published",
): WeightPlan {
  const layouts = new Map<string, WeightLayout>();
  const counted = new Map<string, { parameters: number; bytes: number }>();
  const check = (name: string, shape: number[]): DenseFormat => {
    const tensor = checkpoint.tensors.get(name);
    if (!tensor) throw new WeightsError(name, "is not in the checkpoint, though its config.json calls for it.");
    if (tensor.shape.length !== shape.length || tensor.shape.some((n, i) => n !== shape[i])) {
      throw new WeightsError(
        name,
        `has the shape [${tensor.shape.join(", ")}]; config.json says [${shape.join(", ")}].`,
      );
    }
    const format = FORMAT_OF[tensor.dtype];
    if (!format) throw new WeightsError(name, `is ${tensor.dtype}; weights are read as F32, F16 or BF16.`);
    counted.set(name, { parameters: shape.reduce((a, b) => a * b, 1), bytes: tensor.end - tensor.begin });
    return format;
  };
  for (const [role, spec] of table) {
    if (spec.kind === "vector") {
      check(spec.tensor, [spec.width]);
      continue;
    }
    const found = spec.tensors.map((t) => check(t.tensor, [t.rows, spec.inFeatures]));
    for (const { tensor, rows } of spec.bias ?? []) check(tensor, [rows]);
    // Tensors of one matrix may differ in dtype; f32 holds them all exactly.
    const published = found.every((f) => f === found[0]) ? found[0]! : "f32";
    layouts.set(role, residentLayout(spec, published, wanted));
  }
  const sums = [...counted.values()];
  const total = (key: "parameters" | "bytes"): number => sums.reduce((n, s) => n + s[key], 0);
  return { table, checkpoint, layouts, parameters: total("parameters"), bytes: total("bytes") };
}

/** Embeddings and heads keep more bits than was asked for: they are the first to hurt. */
function residentLayout(spec: LinearSpec, published: DenseFormat, wanted: WeightLayout | "published"): WeightLayout {
  if (wanted === "published") return published;
  if (!spec.sensitive) return wanted;
  return wanted === "q4" ? "q8" : wanted === "q8" ? published : wanted;
}

/** Rows of each part, so that none is larger than a binding. */
function splitRows(
  spec: LinearSpec,
  layout: WeightLayout,
  maxBinding: number,
): { rowStart: number; rowCount: number }[] {
  const rowBytes = rowWords(layout, spec.inFeatures) * 4;
  // Even, so that a gate and its up stay together.
  const most = Math.floor(maxBinding / rowBytes / 2) * 2;
  if (most < 1) throw new WeightsError(spec.tensors[0]!.tensor, `has rows of ${rowBytes} bytes, past one GPU binding.`);
  const parts: { rowStart: number; rowCount: number }[] = [];
  for (let rowStart = 0; rowStart < spec.outFeatures; rowStart += most) {
    parts.push({ rowStart, rowCount: Math.min(most, spec.outFeatures - rowStart) });
  }
  return parts;
}

/** Everything resident: buffers are allocated at once, their contents come with `stream`. */
export class WeightStore implements ResidentWeights {
  private readonly linears = new Map<string, Linear>();
  private readonly vectors = new Map<string, Range>();
  /** Norms and biases: f32, gathered on the host in one array, since each is tiny. */
  private host: Float32Array<ArrayBuffer> = new Float32Array(0);
  private vectorBuffer: GPUBuffer | undefined;
  /** Where a published vector's values go in `host`. */
  private readonly vectorTargets = new Map<string, { at: number; step: number }[]>();
  /** Where a published matrix goes. */
  private readonly linearTargets = new Map<string, { layer: Linear; placement: TensorPlacement; kernel: Kernel }[]>();
  /** Bytes of GPU memory that the weights take. */
  bytes = 0;

  private constructor(
    private readonly gpu: Gpu,
    private readonly plan: WeightPlan,
  ) {}

  /** Allocates all weights and asks for the kernels that will fill them; both are to be there before `stream`. */
  static async allocate(gpu: Gpu, pipelines: Pipelines, plan: WeightPlan, maxBinding: number): Promise<WeightStore> {
    const store = new WeightStore(gpu, plan);
    await store.allocateVectors();
    for (const [role, spec] of plan.table) {
      if (spec.kind === "linear") await store.allocateLinear(pipelines, role, spec, maxBinding);
    }
    return store;
  }

  linear(role: string): Linear {
    const layer = this.linears.get(role);
    invariant(layer, `no linear layer ${role}`);
    return layer;
  }

  vector(role: string): Range {
    const range = this.vectors.get(role);
    invariant(range, `no vector ${role}`);
    return range;
  }

  private async allocateVectors(): Promise<void> {
    let end = 0;
    const place = (role: string, width: number): number => {
      const offset = end;
      // Bound at an offset, so at a multiple of 256 bytes; read four at a time.
      end = roundUp(end + width, 64);
      this.vectors.set(role, {
        buffer: undefined as unknown as GPUBuffer,
        offset: offset * 4,
        size: roundUp(width, 4) * 4,
      });
      return offset;
    };
    const target = (tensor: string, at: number, step: number): void => {
      this.vectorTargets.set(tensor, [...(this.vectorTargets.get(tensor) ?? []), { at, step }]);
    };
    for (const [role, spec] of this.plan.table) {
      if (spec.kind === "vector") target(spec.tensor, place(role, spec.width), 1);
      else if (spec.bias) {
        const offset = place(`${role} bias`, spec.outFeatures);
        for (const b of spec.bias) target(b.tensor, offset + b.firstRow, b.rowStep);
      }
    }
    this.host = new Float32Array(Math.max(4, end));
    const buffer = await this.gpu.arena.allocate(
      "weights",
      "norms and biases",
      this.host.byteLength,
      Usage.storage | Usage.copyDst,
    );
    this.bytes += buffer.size;
    this.vectorBuffer = buffer;
    for (const [role, range] of this.vectors) this.vectors.set(role, { ...range, buffer });
  }

  private async allocateLinear(
    pipelines: Pipelines,
    role: string,
    spec: LinearSpec,
    maxBinding: number,
  ): Promise<void> {
    const layout = this.plan.layouts.get(role)!;
    const parts: LinearPart[] = [];
    for (const { rowStart, rowCount } of splitRows(spec, layout, maxBinding)) {
      const size = rowCount * rowWords(layout, spec.inFeatures) * 4;
      const buffer = await this.gpu.arena.allocate("weights", role, size, Usage.storage | Usage.copyDst);
      parts.push({ weights: { buffer, offset: 0, size }, rowStart, rowCount });
      this.bytes += size;
    }
    const { inFeatures, outFeatures } = spec;
    const bias = spec.bias && this.vector(`${role} bias`);
    const layer: Linear = { name: role, inFeatures, outFeatures, layout, parts, ...(bias && { bias }) };
    this.linears.set(role, layer);
    for (const placement of spec.tensors) {
      const from = FORMAT_OF[this.plan.checkpoint.tensors.get(placement.tensor)!.dtype]!;
      const kernel = pipelines.get(repackSource(from, layout));
      const targets = this.linearTargets.get(placement.tensor) ?? [];
      this.linearTargets.set(placement.tensor, [...targets, { layer, placement, kernel }]);
    }
  }

  /** Brings every tensor from its file to the GPU, in file order, through one staging buffer. */
  async stream(
    compiled: Promise<void>,
    batch: Batch,
    onBytes: (loaded: number, total: number) => void,
    signal?: AbortSignal,
  ): Promise<void> {
    const upload = await Uploader.create(this.gpu, compiled, batch, this.largestRow());
    try {
      let loaded = 0;
      for (const run of this.runs()) {
        for await (const { tensor, bytes, offset } of cut(run, signal)) {
          if (signal?.aborted) throw new AbortError("Loading", signal.reason);
          if (this.gpu.failure) throw this.gpu.failure;
          await this.take(upload, tensor, bytes, offset);
          loaded += bytes.byteLength;
          onBytes(loaded, this.plan.bytes);
        }
      }
      this.gpu.queue.writeBuffer(this.vectorBuffer!, 0, this.host);
      await this.gpu.queue.onSubmittedWorkDone();
    } finally {
      upload.free();
      this.host = new Float32Array(0);
    }
  }

  private async take(upload: Uploader, tensor: CheckpointTensor, bytes: Uint8Array, offset: number): Promise<void> {
    const from = FORMAT_OF[tensor.dtype]!;
    for (const { at, step } of this.vectorTargets.get(tensor.name) ?? []) {
      decode(bytes, from, (i, value) => {
        this.host[at + (offset / BYTES_OF[from] + i) * step] = value;
      });
    }
    for (const { layer, placement, kernel } of this.linearTargets.get(tensor.name) ?? []) {
      await upload.rows(layer, placement, kernel, bytes, offset, BYTES_OF[from]);
    }
  }

  private largestRow(): number {
    let bytes = 0;
    for (const spec of this.plan.table.values())
      if (spec.kind === "linear") bytes = Math.max(bytes, spec.inFeatures * 4);
    return bytes;
  }

  /** The wanted tensors in file order, in runs that one read can bring. */
  private runs(): Run[] {
    const wanted = new Set<string>();
    for (const spec of this.plan.table.values()) {
      if (spec.kind === "vector") wanted.add(spec.tensor);
      else for (const { tensor } of [...spec.tensors, ...(spec.bias ?? [])]) wanted.add(tensor);
    }
    const tensors = [...wanted].map((name) => this.plan.checkpoint.tensors.get(name)!);
    const files = this.plan.checkpoint.files;
    tensors.sort((a, b) => files.indexOf(a.file) - files.indexOf(b.file) || a.begin - b.begin);
    const runs: Run[] = [];
    for (const tensor of tensors) {
      const last = runs.at(-1);
      const end = last?.tensors.at(-1)?.end;
      if (last?.file === tensor.file && end !== undefined && tensor.begin - end <= GAP_BYTES) last.tensors.push(tensor);
      else runs.push({ file: tensor.file, tensors: [tensor] });
    }
    return runs;
  }
}

interface Run {
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
async function* cut(run: Run, signal?: AbortSignal): AsyncGenerator<Chunk> {
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
class Uploader {
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

/** Values of a few rows of a small tensor, on the host. */
function decode(bytes: Uint8Array, format: DenseFormat, each: (i: number, value: number) => void): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const count = bytes.byteLength / BYTES_OF[format];
  for (let i = 0; i < count; i++) {
    if (format === "f32") each(i, view.getFloat32(i * 4, true));
    else each(i, (format === "f16" ? f16ToNumber : bf16ToNumber)(view.getUint16(i * 2, true)));
  }
}
