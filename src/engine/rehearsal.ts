import { invariant, roundUp } from "../base/assert.ts";
import { Arena, Usage } from "../gpu/arena.ts";
import type { Gpu } from "../gpu/device.ts";
import { submit, type Dispatch } from "../gpu/pass.ts";
import { BatchWriter, createBatch, SAMPLING_WORDS, STATE_WORDS, type Batch, type Range } from "../kernels/batch.ts";
import { Pipelines } from "../kernels/define.ts";
import { fill, PATTERNS, type Pattern } from "../kernels/fill.ts";
import { Graph, GraphBuffers, type Tensor } from "../kernels/graph.ts";
import { packSampling, type SamplingOptions } from "../kernels/sampling.ts";
import type { Tuning } from "../kernels/tuning.ts";

/** The batch that kernels are rehearsed with. */
export interface Scene {
  /** Sequences: rows of this step, and entries that their caches have before it. */
  readonly segments: readonly { readonly rows: number; readonly length: number }[];
  /** The last row of each segment goes through the head where true. */
  readonly sampled?: boolean;
  readonly pageSize?: number;
  readonly vocabSize?: number;
  /** Of every sequence; greedy where absent. */
  readonly sampling?: SamplingOptions;
}

export const rowsOf = (scene: Scene): number => scene.segments.reduce((sum, s) => sum + s.rows, 0);

/** Pages that the scene's sequences take between them; a pool holds so many. */
export function pagesOf(scene: Scene): number {
  return scene.segments.reduce((sum, s) => sum + pagesOfSegment(scene, s), 0);
}

function pagesOfSegment({ pageSize = 32 }: Scene, { rows, length }: { rows: number; length: number }): number {
  return Math.ceil((rows + length) / pageSize);
}

/** A drawing that was recorded, once for each set of weights. */
export interface Recording {
  readonly programs: readonly (readonly Dispatch[])[];
  /** What was drawn with the first set. */
  readonly graph: Graph;
  /** Milliseconds that compiling took; near nothing where the pipelines were there. */
  readonly compileMs: number;
  /** Where what the drawing returned will be. */
  readonly outputs: Readonly<Record<string, Range>>;
}

/** Draws with set number `set` of the weights; what it returns is kept readable. */
export type Drawing = (graph: Graph, set: number) => Readonly<Record<string, Tensor>> | void;

/**
 * Random words for weights and caches: one buffer, cut into as many distinct sets as fit, so that a measurement can take
 * another set each time and find none of it in the GPU's cache.
 */
export class WeightPool {
  private filled: Pattern | undefined;

  private constructor(
    private readonly buffer: GPUBuffer,
    private readonly maxBinding: number,
  ) {}

  static async allocate(gpu: Gpu, bytes: number, arena = gpu.arena): Promise<WeightPool> {
    const { maxBufferSize, maxStorageBufferBindingSize } = gpu.device.limits;
    const size = Math.floor(Math.min(bytes, maxBufferSize) / 256) * 256;
    const usage = Usage.storage | Usage.copyDst | Usage.copySrc;
    return new WeightPool(await arena.allocate("weights", "random words", size, usage), maxStorageBufferBindingSize);
  }

  get bytes(): number {
    return this.buffer.size;
  }

  /** Sets of so many bytes, `most` at most; none where not even one fits. */
  sets(bytes: number, most: number): Range[] {
    const stride = Math.max(256, roundUp(bytes, 256));
    const count = Math.min(most, Math.floor(this.bytes / stride));
    return Array.from({ length: count }, (_, i) => ({ buffer: this.buffer, offset: i * stride, size: stride }));
  }

  /** The pool in pieces that one binding takes; writing is left out where the pattern is there already. */
  fillWith(graph: Graph, pattern: Pattern): void {
    if (this.filled === pattern) return;
    const piece = Math.floor(Math.min(this.maxBinding, 1 << 30) / 256) * 256;
    for (let offset = 0; offset < this.bytes; offset += piece) {
      fill(graph, { buffer: this.buffer, offset, size: Math.min(piece, this.bytes - offset) }, pattern, offset / 256);
    }
    this.filled = pattern;
  }
}

/** Records drawings of kernels over random activations, for those who measure: the bench and the tuner. */
export class Rehearsal {
  private constructor(
    private readonly gpu: Gpu,
    readonly arena: Arena,
    readonly pipelines: Pipelines,
    readonly scene: Scene,
    readonly batch: Batch,
  ) {}

  static async open(gpu: Gpu, scene: Scene, pipelines: Pipelines = new Pipelines(gpu.device)): Promise<Rehearsal> {
    const arena = new Arena(gpu.device);
    const { segments, sampled = false, vocabSize = 32 } = scene;
    const batch = await createBatch(arena, {
      rows: rowsOf(scene),
      slots: segments.length,
      samples: sampled ? segments.length : 1,
      pagesPerSequence: Math.max(...segments.map((s) => pagesOfSegment(scene, s))),
      vocabSize,
    });
    writeScene(gpu, batch, scene);
    return new Rehearsal(gpu, arena, pipelines, scene, batch);
  }

  /** A buffer of random words that is gone with this rehearsal. */
  async table(bytes: number, pattern: Pattern = PATTERNS.f32): Promise<Range> {
    const buffer = await this.arena.allocate("weights", "random table", roundUp(bytes, 256), Usage.storage);
    const range = { buffer, offset: 0, size: buffer.size };
    await this.run((graph) => fill(graph, range, pattern));
    return range;
  }

  /** Fills what is to be filled, and waits until it is compiled; the GPU does it before whatever is submitted later. */
  async run(draw: (graph: Graph) => void): Promise<void> {
    const { programs } = await this.record(1, draw);
    submit(this.gpu, programs);
  }

  /** Records the drawing for each of `sets` sets of weights. What it only reads is filled with random numbers. */
  async record(sets: number, draw: Drawing, tuning?: Tuning, pipelines = this.pipelines): Promise<Recording> {
    const { gpu, arena, batch, scene } = this;
    const samples = scene.sampled ? scene.segments.length : 1;
    const longest = Math.max(...scene.segments.map((s) => s.rows + s.length));
    const drawn = Array.from({ length: sets }, (_, set) => {
      const graph = new Graph(pipelines, batch, rowsOf(scene), samples, tuning, longest);
      const outputs = draw(graph, set) ?? {};
      const inputs = inputsOf(graph);
      return { graph, inputs, outputs: { ...outputs, ...inputs } };
    });
    const [first] = drawn;
    invariant(first, "nothing to record");
    const begun = performance.now();
    await pipelines.compile();
    const compileMs = performance.now() - begun;
    const buffers = new GraphBuffers(gpu.device, arena);
    await buffers.reserve(drawn);
    const programs = await Promise.all(drawn.map(({ graph, outputs }) => buffers.program(graph, outputs)));
    const { outputs } = programs[0]!;
    const inputs = Object.keys(first.inputs).map((name) => outputs[name]!);
    if (inputs.length > 0) await this.run((graph) => inputs.forEach((range, i) => fillFloats(graph, range, i)));
    return { programs: programs.map((p) => p.dispatches), graph: first.graph, compileMs, outputs };
  }

  close(): void {
    this.arena.freeAll();
  }
}

/** Tensors that are read before anything wrote them. */
function inputsOf(graph: Graph): Record<string, Tensor> {
  const seen = new Set<number>();
  const inputs: Record<string, Tensor> = {};
  for (const { kernel, bindings } of graph.ops) {
    for (const { name, access } of kernel.source.bindings) {
      const bound = bindings[name]!;
      if (!("extent" in bound) || seen.has(bound.id)) continue;
      seen.add(bound.id);
      if (access === "read") inputs[`input ${bound.id}`] = bound;
    }
  }
  return inputs;
}

/** Random f32; at most three words at the end stay zero, as `fill` writes four at a time. */
function fillFloats(graph: Graph, range: Range, seed: number): void {
  if (range.size >= 16) fill(graph, range, PATTERNS.f32, 1000 + seed);
}

function writeScene(gpu: Gpu, batch: Batch, scene: Scene): void {
  const { segments, sampled = false, pageSize = 32 } = scene;
  const lastRow = (slot: number): number => segments.slice(0, slot + 1).reduce((sum, s) => sum + s.rows, -1);
  const { vocabSize } = batch.limits;
  new BatchWriter(batch, gpu.queue).write({
    segments: segments.map(({ rows }, slot) => ({
      slot,
      tokens: Array.from({ length: rows }, (_, i) => (i * 7919 + slot) % vocabSize),
    })),
    samples: sampled ? segments.map((_, slot) => ({ row: lastRow(slot), slot })) : [],
    copies: [],
  });
  const states = new Uint32Array(segments.length * STATE_WORDS);
  const table = new Uint32Array(segments.length * batch.limits.pagesPerSequence * 2);
  let page = 0;
  segments.forEach((segment, slot) => {
    states.set([segment.length, segment.length], slot * STATE_WORDS);
    const from = slot * batch.limits.pagesPerSequence * 2;
    const count = pagesOfSegment(scene, segment);
    for (let i = 0; i < count; i++) table.set([page++, i * pageSize], from + 2 * i);
  });
  segments.forEach((_, slot) => {
    const options = packSampling(scene.sampling ?? { temperature: 0 });
    gpu.queue.writeBuffer(batch.sampling.buffer, slot * SAMPLING_WORDS * 4, options);
  });
  gpu.queue.writeBuffer(batch.state.buffer, 0, states);
  gpu.queue.writeBuffer(batch.pageTable.buffer, 0, table);
}
