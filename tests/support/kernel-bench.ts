/**
 * Runs kernels alone on the lane's device. Every tensor has a buffer of its own, is NaN before the program runs, and is
 * followed by 1 KiB that nothing may write: the guard is part of the binding, since past a binding's end WebGPU itself
 * would turn a stray write back. Everything happens inside error scopes.
 */
import { expect, inject } from "vitest";
import { Usage } from "../../src/gpu/arena.ts";
import { openGpu, type Gpu } from "../../src/gpu/device.ts";
import { submit, type Dispatch } from "../../src/gpu/pass.ts";
import {
  BatchWriter,
  createBatch,
  STATE_WORDS,
  type Batch,
  type BatchLimits,
  type BatchPlan,
  type Range,
} from "../../src/kernels/batch.ts";
import { packParams, Pipelines } from "../../src/kernels/define.ts";
import { Graph, type Tensor } from "../../src/kernels/graph.ts";
import { writeSampling, type SamplingOptions } from "../../src/kernels/sampling.ts";
import { tuningFor, type Tuning } from "../../src/kernels/tuning.ts";

type Words = Uint32Array<ArrayBuffer> | Float32Array<ArrayBuffer>;

/** A NaN that no kernel computes: what was written can be told from what was not. */
export const UNTOUCHED = 0x7fdeadbe;
/** Another, behind what kernels read: a NaN keeps its bits in arithmetic, and must not look untouched where it arrives. */
const POISON = 0x7fc0ffee;
const GUARD_BYTES = 1024;

/** The words of a slot's state, in order. */
const STATE_FIELDS = ["length", "position", "token", "counter", "accepted", "regime", "ended"] as const;
export type SlotState = Record<(typeof STATE_FIELDS)[number], number>;

/** What the host says of one sequence slot. */
export interface SlotSetup extends SamplingOptions, Partial<SlotState> {
  /** Physical pages in order. */
  pages?: readonly number[];
  /** [vocab / 32] allowed tokens. */
  mask?: Words;
  /** [vocab] of a batch with penalties. */
  counts?: Words;
}

export interface Setup {
  plan?: Partial<BatchPlan>;
  slots?: readonly SlotSetup[];
  limits?: Partial<BatchLimits>;
  /** Rows and samples the program is recorded for; as many as the plan has where absent. */
  rows?: number;
  samples?: number;
  /** Variants other than the device's own. */
  tuning?: Partial<Tuning>;
}

/** True in the lane that does without optional features: kernels take the variants that any device can run. */
export const PLAIN = inject("plain");

/** A graph whose tensors and uploads are guarded buffers. */
export class BenchGraph extends Graph {
  readonly buffers: GPUBuffer[] = [];
  private readonly ranges = new Map<number, Range>();
  private readonly contents = new Map<Range, { bytes: number; guard: number }>();

  constructor(
    private readonly gpu: Gpu,
    ...graph: ConstructorParameters<typeof Graph>
  ) {
    super(...graph);
  }

  override tensor(extent: Tensor["extent"], width: number): Tensor {
    const tensor = super.tensor(extent, width);
    const words = new Uint32Array(this.count(extent) * width).fill(UNTOUCHED);
    this.ranges.set(tensor.id, this.upload(words, UNTOUCHED));
    return tensor;
  }

  /** A tensor that the host fills: [rows, width] f32. */
  input(extent: Tensor["extent"], width: number, values: Words): Tensor {
    const tensor = super.tensor(extent, width);
    expect(values.length).toBe(this.count(extent) * width);
    this.ranges.set(tensor.id, this.upload(values));
    return tensor;
  }

  /** A buffer of these words and a guard after them, whole. */
  upload(words: Words, guard = POISON): Range {
    const buffer = this.gpu.device.createBuffer({
      label: "bench",
      size: words.byteLength + GUARD_BYTES,
      usage: Usage.storage | Usage.copyDst | Usage.copySrc,
    });
    this.buffers.push(buffer);
    this.gpu.queue.writeBuffer(buffer, 0, words);
    this.gpu.queue.writeBuffer(buffer, words.byteLength, new Uint32Array(GUARD_BYTES / 4).fill(guard));
    const range = { buffer, offset: 0, size: buffer.size };
    this.contents.set(range, { bytes: words.byteLength, guard });
    return range;
  }

  rangeOf(of: Tensor | Range): Range {
    return "extent" in of ? this.ranges.get(of.id)! : of;
  }

  /** Bytes before the guard, and its words; no guard behind ranges that are not ours. */
  contentOf(range: Range): { bytes: number; guard: number } {
    return this.contents.get(range) ?? { bytes: range.size, guard: 0 };
  }
}

/** A program on the device, to be run and read as often as one likes. */
export class BenchProgram {
  constructor(
    private readonly gpu: Gpu,
    readonly batch: Batch,
    private readonly graph: BenchGraph,
    private readonly dispatches: readonly Dispatch[],
  ) {}

  /** Replays the program once, in one submit. */
  submit(): void {
    submit(this.gpu, [this.dispatches]);
  }

  /** The words of a tensor or an upload, its guard checked. */
  async words(of: Tensor | Range): Promise<Uint32Array<ArrayBuffer>> {
    const range = this.graph.rangeOf(of);
    const { bytes, guard } = this.graph.contentOf(range);
    const words = new Uint32Array(await readBuffer(this.gpu.device, range.buffer, range.size));
    expect(words.subarray(bytes / 4).every((word) => word === guard)).toBe(true);
    return words.slice(0, bytes / 4);
  }

  /** The same as f32. */
  async floats(of: Tensor | Range): Promise<Float32Array<ArrayBuffer>> {
    return new Float32Array((await this.words(of)).buffer);
  }

  /** What the slots are now. */
  async states(): Promise<SlotState[]> {
    const words = await this.words(this.batch.state);
    return Array.from({ length: this.batch.limits.slots }, (_, slot) => {
      const state = words.subarray(slot * STATE_WORDS);
      return Object.fromEntries(STATE_FIELDS.map((field, at) => [field, state[at]])) as SlotState;
    });
  }
}

const LIMITS: BatchLimits = { rows: 64, slots: 8, samples: 64, pagesPerSequence: 8, vocabSize: 64 };

export class KernelBench {
  private pipelines: Pipelines;

  private constructor(readonly gpu: Gpu) {
    this.pipelines = new Pipelines(gpu.device);
  }

  static async open(): Promise<KernelBench> {
    return new KernelBench(await openGpu(PLAIN ? { features: [] } : {}));
  }

  close(): void {
    expect(this.gpu.failure).toBeUndefined();
    this.gpu.close();
  }

  /**
   * Records what `draw` draws over a batch with this setup, submits it once, and gives `read` the program. Afterwards
   * every buffer of the case is gone.
   */
  async run<T, R>(
    setup: Setup,
    draw: (graph: BenchGraph) => T,
    read: (program: BenchProgram, drawn: T) => Promise<R>,
  ): Promise<R> {
    const { device, arena, queue } = this.gpu;
    for (const filter of ["validation", "out-of-memory", "internal"] as const) device.pushErrorScope(filter);
    const plan = { segments: [], samples: [], copies: [], ...setup.plan };
    const limits = { ...LIMITS, ...setup.limits };
    const batch = await createBatch(arena, limits);
    writeSlots(queue, batch, setup.slots ?? []);
    const writer = new BatchWriter(batch, queue);
    writer.write(fullPlan(limits));
    writer.write(plan);
    const planned = plan.segments.reduce((n, s) => n + (s.tokens?.length ?? 1), 0);
    const [rows, samples] = [setup.rows ?? Math.max(1, planned), setup.samples ?? Math.max(1, plan.samples.length)];
    const tuning = { ...tuningFor(this.gpu.info), ...setup.tuning };
    const graph = new BenchGraph(this.gpu, this.pipelines, batch, rows, samples, tuning);
    const params: GPUBuffer[] = [];
    try {
      const drawn = draw(graph);
      await this.compile();
      const program = new BenchProgram(this.gpu, batch, graph, this.bind(graph, params));
      program.submit();
      return await read(program, drawn);
    } finally {
      for (const buffer of [...graph.buffers, ...params]) buffer.destroy();
      const { buffer, state, pageTable, sampling, mask, tokens } = batch;
      for (const own of [buffer, ...[state, pageTable, sampling, mask, tokens].map((r) => r.buffer)]) arena.free(own);
      if (batch.counts) arena.free(batch.counts.buffer);
      for (let i = 0; i < 3; i++) expect((await device.popErrorScope())?.message).toBeUndefined();
    }
  }

  /** A kernel that does not compile fails its own case and not those after it. */
  private async compile(): Promise<void> {
    try {
      await this.pipelines.compile();
    } catch (error) {
      this.pipelines = new Pipelines(this.gpu.device);
      throw error;
    }
  }

  private bind(graph: BenchGraph, params: GPUBuffer[]): Dispatch[] {
    const { device, queue } = this.gpu;
    return graph.ops.map(({ label, kernel, grid, params: values, bindings }) => {
      const bytes = packParams(kernel.source, values);
      const buffer = device.createBuffer({ size: bytes.byteLength, usage: Usage.uniform | Usage.copyDst });
      params.push(buffer);
      queue.writeBuffer(buffer, 0, bytes);
      const resources = kernel.source.bindings.map(({ name }) => graph.rangeOf(bindings[name]!));
      const all: GPUBufferBinding[] = [{ buffer }, graph.batch.header, ...resources];
      const entries = all.map((resource, binding) => ({ binding, resource }));
      return { label, pipeline: kernel, grid, bindGroup: device.createBindGroup({ layout: kernel.layout, entries }) };
    });
  }
}

/** As much as a batch takes: what stays of an earlier step behind a shorter one is not empty. */
function fullPlan({ rows, slots, samples }: BatchLimits): BatchPlan {
  const used = Math.min(rows, slots);
  const indices = (count: number): number[] => Array.from({ length: count }, (_, i) => i);
  return {
    segments: indices(used).map((slot) => ({ slot, tokens: indices(Math.floor(rows / used)) })),
    samples: indices(samples).map((i) => ({ row: i % rows, slot: i % slots, token: 1, masked: true })),
    copies: indices(slots).map((i) => ({ from: i + 1, to: i })),
  };
}

/** What the setup does not name holds a pattern that nobody can use unnoticed. */
function writeSlots(queue: GPUQueue, batch: Batch, slots: readonly SlotSetup[]): void {
  const { state, pageTable, sampling, mask, tokens, counts } = batch;
  for (const { buffer } of [state, pageTable, sampling, mask, tokens, ...(counts ? [counts] : [])]) {
    queue.writeBuffer(buffer, 0, new Uint32Array(buffer.size / 4).fill(UNTOUCHED));
  }
  const maskBytes = mask.size / batch.limits.slots;
  slots.forEach((slot, i) => {
    const { position = slot.length } = slot;
    const words = new Uint32Array(STATE_FIELDS.map((field) => ({ ...slot, position })[field] ?? 0));
    queue.writeBuffer(state.buffer, i * words.byteLength, words);
    writeSampling(queue, batch, i, { temperature: 0, ...slot });
    if (counts && slot.counts) queue.writeBuffer(counts.buffer, i * batch.limits.vocabSize * 4, slot.counts);
    const pages = new Uint32Array((slot.pages ?? []).flatMap((page, at) => [page, at]));
    queue.writeBuffer(pageTable.buffer, i * batch.limits.pagesPerSequence * 8, pages);
    if (slot.mask) queue.writeBuffer(mask.buffer, i * maskBytes, slot.mask);
  });
}

/** A buffer's first bytes, copied to the host. */
export async function readBuffer(device: GPUDevice, from: GPUBuffer, bytes: number): Promise<ArrayBuffer> {
  const staging = device.createBuffer({ size: bytes, usage: Usage.mapRead | Usage.copyDst });
  const encoder = device.createCommandEncoder();
  encoder.copyBufferToBuffer(from, 0, staging, 0, bytes);
  device.queue.submit([encoder.finish()]);
  await staging.mapAsync(1 /* GPUMapMode.READ */);
  const result = staging.getMappedRange().slice(0);
  staging.destroy();
  return result;
}
