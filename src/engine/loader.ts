import { invariant, roundUp } from "../base/assert.ts";
import { AbortError } from "../base/errors.ts";
import { bf16ToNumber, f16ToNumber } from "../base/half.ts";
import { Usage } from "../gpu/arena.ts";
import type { Gpu } from "../gpu/device.ts";
import type { Batch, Range } from "../kernels/batch.ts";
import type { Kernel, Pipelines } from "../kernels/define.ts";
import type { Linear, LinearPart } from "../kernels/linear.ts";
import { repackSource } from "../kernels/repack.ts";
import { transposeSource } from "../kernels/transpose.ts";
import { publishedShape, type LinearSpec, type ResidentWeights, type TensorPlacement } from "../models/family.ts";
import type { CheckpointTensor } from "../weights/checkpoint.ts";
import type { DenseFormat } from "../weights/quant/dense.ts";
import { WeightDigest } from "../weights/digest.ts";
import { rowWords } from "../weights/quant/layout.ts";
import { cut, turnedBytes, Uploader, type Run } from "./upload.ts";
import { BYTES_OF, FORMAT_OF, splitRows, type WeightPlan } from "./weight-plan.ts";

/** Bytes between two wanted tensors that are read through rather than asked for anew. */
const GAP_BYTES = 1 << 20;

/** Everything resident: buffers are allocated at once, their contents come with `stream`. */
export class WeightStore implements ResidentWeights {
  private readonly linears = new Map<string, Linear>();
  private readonly vectors = new Map<string, Range>();
  /** Norms and biases: f32, gathered on the host in one array, since each is tiny. */
  private host: Float32Array<ArrayBuffer> = new Float32Array(0);
  private vectorBuffer: GPUBuffer | undefined;
  /** Where a published vector's values [from, from + count) go in `host`. */
  private readonly vectorTargets = new Map<string, { at: number; step: number; from: number; count: number }[]>();
  /** Where a published matrix goes; by way of `turn` where it is published transposed. */
  private readonly linearTargets = new Map<
    string,
    { layer: Linear; placement: TensorPlacement; kernel: Kernel; turn: Kernel | undefined }[]
  >();
  /** Bytes of GPU memory that the weights take. */
  bytes = 0;
  /** Names the published weights, once they are streamed. */
  readonly digest = new WeightDigest();

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
    const target = (tensor: string, at: number, step: number, from: number, count: number): void => {
      const { name } = this.plan.tensor(tensor);
      this.vectorTargets.set(name, [...(this.vectorTargets.get(name) ?? []), { at, step, from, count }]);
    };
    const given: { at: number; values: readonly number[] }[] = [];
    for (const [role, spec] of this.plan.table) {
      if (spec.kind === "vector") {
        const at = place(role, spec.width);
        if (spec.tensor !== undefined) target(spec.tensor, at, 1, 0, spec.width);
        else given.push({ at, values: spec.values ?? [] });
      } else if (spec.bias) {
        const offset = place(`${role} bias`, spec.outFeatures);
        for (const b of spec.bias) target(b.tensor, offset + b.firstRow, b.rowStep, b.fromRow ?? 0, b.rows);
      }
    }
    this.host = new Float32Array(Math.max(4, end));
    for (const { at, values } of given) this.host.set(values, at);
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
      const { name, dtype } = this.plan.tensor(placement.tensor);
      const from = FORMAT_OF[dtype]!;
      const kernel = pipelines.get(repackSource(from, layout));
      const turn = spec.transposed ? pipelines.get(transposeSource(from)) : undefined;
      const targets = this.linearTargets.get(name) ?? [];
      targets.push({ layer, placement, kernel, turn });
      this.linearTargets.set(name, targets);
    }
  }

  /** Brings every tensor from its file to the GPU, in file order, through one staging buffer. */
  async stream(
    compiled: Promise<void>,
    batch: Batch,
    onBytes: (loaded: number, total: number) => void,
    signal?: AbortSignal,
  ): Promise<void> {
    const upload = await Uploader.create(this.gpu, compiled, batch, this.largestRow(), this.largestTurned());
    try {
      let loaded = 0;
      for (const run of this.runs()) {
        for await (const { tensor, bytes, offset } of cut(run, signal)) {
          if (signal?.aborted) throw new AbortError("Loading", signal.reason);
          if (this.gpu.failure) throw this.gpu.failure;
          this.digest.add(tensor, bytes, offset);
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
    for (const { at, step, from: first, count } of this.vectorTargets.get(tensor.name) ?? []) {
      const begin = offset / BYTES_OF[from] - first;
      decode(bytes, from, (i, value) => {
        if (begin + i >= 0 && begin + i < count) this.host[at + (begin + i) * step] = value;
      });
    }
    for (const { layer, placement, kernel, turn } of this.linearTargets.get(tensor.name) ?? []) {
      if (turn) await upload.strip(layer, turn, kernel, bytes, offset, BYTES_OF[from], placement.stack);
      else await upload.rows(layer, placement, kernel, bytes, offset, BYTES_OF[from]);
    }
  }

  /** Bytes of the longest published row of a matrix. */
  private largestRow(): number {
    let columns = 0;
    for (const spec of this.plan.table.values()) {
      if (spec.kind !== "linear") continue;
      for (const placement of spec.tensors) columns = Math.max(columns, publishedShape(spec, placement).at(-1)!);
    }
    return columns * 4;
  }

  /** Bytes that the largest matrix that is published transposed takes on its way, in the published format. */
  private largestTurned(): number {
    let bytes = 0;
    for (const targets of this.linearTargets.values()) {
      for (const { layer, placement, turn } of targets) {
        const from = FORMAT_OF[this.plan.tensor(placement.tensor).dtype]!;
        if (turn) bytes = Math.max(bytes, turnedBytes(layer, BYTES_OF[from], placement.stack));
      }
    }
    return bytes;
  }

  /** The wanted tensors in file order, in runs that one read can bring. */
  private runs(): Run[] {
    const wanted = new Set<string>();
    for (const spec of this.plan.table.values()) {
      if (spec.kind === "vector") {
        if (spec.tensor !== undefined) wanted.add(spec.tensor);
      } else for (const { tensor } of [...spec.tensors, ...(spec.bias ?? [])]) wanted.add(tensor);
    }
    const tensors = [...wanted].map((name) => this.plan.tensor(name));
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

/** Values of a few rows of a small tensor, on the host. */
function decode(bytes: Uint8Array, format: DenseFormat, each: (i: number, value: number) => void): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const count = bytes.byteLength / BYTES_OF[format];
  for (let i = 0; i < count; i++) {
    if (format === "f32") each(i, view.getFloat32(i * 4, true));
    else each(i, (format === "f16" ? f16ToNumber : bf16ToNumber)(view.getUint16(i * 2, true)));
  }
}
