import { bug, invariant } from "../base/assert.ts";
import type { Gpu } from "../gpu/device.ts";
import { submit } from "../gpu/pass.ts";
import { Readback } from "../gpu/readback.ts";
import { copyPages } from "../kernels/pages.ts";
import { BatchWriter, NO_TOKEN, STATE_WORDS, type Batch, type CacheView, type LatentView } from "../kernels/batch.ts";
import type { Pipelines } from "../kernels/define.ts";
import { Graph, GraphBuffers, type Outputs, type Program, type Tensor } from "../kernels/graph.ts";
import { advance, sample, score } from "../kernels/sample.ts";
import { hasPenalties, MAX_LOGPROBS, writeCounts, writeSampling } from "../kernels/sampling.ts";
import type { Tuning } from "../kernels/tuning.ts";
import type { Family, ModelConfig, Resident } from "../models/family.ts";
import type { Logprobs, TokenLogprob } from "./port.ts";
import { placeBytes, planesOf, type Plane } from "./page-bytes.ts";
import type { Growth, SlotSetup, Step, Transfer } from "./step.ts";

/** Results of a step on their way. Tokens or values are not null once it resolves; neither for a step without a head. */
export interface StepResult {
  readonly tokens: Uint32Array | null;
  readonly values: Float32Array | null;
  /** After a step with processors: log-probabilities of a sample's token and of the `count` best ones. */
  readonly logprobsOf?: (sample: number, count: number) => Logprobs;
}

type Head = Step["head"];

/** What a program is recorded for: at most so many rows, samples, and entries of a sequence. */
interface Shape {
  readonly rows: number;
  readonly samples: number;
  readonly head: Head;
  readonly longest: number;
}

/** Up to these attention splits the cache of each row among workgroups. */
const FEW_ROWS = 8;

/** Rows that programs are recorded for; a step takes the smallest that holds it. */
function rowBuckets(limit: number): number[] {
  return [...new Set([1, 8, 64, limit])].filter((n) => n <= limit).sort((a, b) => a - b);
}

/** Encodes steps: one write of the batch, one pass, one submit, one copy of the results. */
export class Runner {
  private readonly programs = new Map<string, Program & Outputs>();
  private readonly copyProgram: Program[] = [];
  private readonly writer: BatchWriter;
  private readonly buckets: { rows: number[]; samples: number[]; read: number };
  /** Words that each sample of a step brings back. */
  private readonly words: Readonly<Record<"sample" | "process" | "logits" | "score", number>>;
  /** What goes into a page table, reused. */
  private readonly table: Uint32Array<ArrayBuffer>;

  private constructor(
    private readonly gpu: Gpu,
    private readonly batch: Batch,
    private readonly cache: CacheView | LatentView,
    private readonly planes: readonly Plane[],
    vocabSize: number,
    /** Tokens and scores, a slot for each step under way; logits or a place of a session's pages, one slot. */
    private readonly ring: Readback,
    private readonly large: Readback,
    readRows: number,
    /** Entries of one split of the cache. */
    private readonly split: number,
  ) {
    this.writer = new BatchWriter(batch, gpu.queue);
    this.words = { sample: 1, process: RANKED_WORDS, logits: vocabSize, score: 1 };
    const { rows, slots, pagesPerSequence } = batch.limits;
    this.table = new Uint32Array(pagesPerSequence * 2);
    this.buckets = { rows: rowBuckets(rows), samples: [...new Set([1, slots])], read: readRows };
  }

  /**
   * Records every program that a step can ask for and leaves their kernels to be compiled, so that the token loop
   * creates nothing. `steps` is how many may be under way.
   */
  static async record<C extends ModelConfig>(
    gpu: Gpu,
    pipelines: Pipelines,
    family: Family<C>,
    model: Resident<C>,
    batch: Batch,
    options: { steps: number; readRows: number; tuning: Tuning },
  ): Promise<Runner> {
    const ring = await Readback.create(gpu.arena, "results", options.steps, resultBytes(batch));
    const { cache, config } = model;
    const { vocabSize } = config;
    const planes = planesOf(cache);
    const largest = Math.max(options.readRows * vocabSize * 4, placeBytes(planes));
    const large = await Readback.create(gpu.arena, "logits and pages", 1, largest);
    const { split } = options.tuning.attention;
    const runner = new Runner(gpu, batch, cache, planes, vocabSize, ring, large, options.readRows, split);
    const graphs = [...runner.shapes()].map((shape) => {
      const { rows, samples, head, longest } = shape;
      const graph = new Graph(pipelines, batch, rows, samples, options.tuning, longest);
      const output = drawStep(graph, family, model, head);
      const outputs: Record<string, Tensor> = output ? { output } : {};
      return { key: keyOf(shape), graph, outputs };
    });
    const buffers = new GraphBuffers(gpu.device, gpu.arena);
    await buffers.reserve(graphs);
    for (const { key, graph, outputs } of graphs) runner.programs.set(key, await buffers.program(graph, outputs));
    const copies = new Graph(pipelines, batch, 1, 1);
    copyPages(copies, cache);
    runner.copyProgram.push(await buffers.program(copies));
    return runner;
  }

  /** Few rows have a program without a merge of splits of the cache, for as long as one split holds every sequence. */
  private lengths(rows: number): number[] {
    const capacity = this.batch.limits.pagesPerSequence * this.cache.pageSize;
    return rows <= FEW_ROWS && this.split < capacity ? [this.split, Infinity] : [Infinity];
  }

  private *shapes(): Iterable<Shape> {
    const { rows, read } = this.buckets;
    for (const n of rows) for (const longest of this.lengths(n)) yield* this.shapesOf(n, longest);
    yield { rows: read, samples: read, head: "logits", longest: Infinity };
    yield { rows: read, samples: read, head: "score", longest: Infinity };
  }

  private *shapesOf(rows: number, longest: number): Iterable<Shape> {
    for (const samples of this.buckets.samples) {
      if (samples > 1 && rows === 1 && this.buckets.rows.length > 1) continue;
      yield { rows, samples, head: "sample", longest };
      yield { rows, samples, head: "process", longest };
    }
    yield { rows, samples: 1, head: "none", longest };
  }

  /** Encodes and submits; the promise resolves when the results are on the host. Nothing here waits for the GPU. */
  run(step: Step): Promise<StepResult> {
    if (step.transfer) return this.move(step.transfer);
    for (const setup of step.setups) this.setUp(setup);
    for (const growth of step.growths) this.grow(growth);
    for (const { slot, words } of step.masks) {
      this.gpu.queue.writeBuffer(this.batch.mask.buffer, slot * words.byteLength, words);
    }
    this.writer.write(step.batch);
    const program = this.programFor(step);
    // Forks copy their page after the forward, which fills it; they write to it from the next step on.
    const programs = [program, ...(step.batch.copies.length ? this.copyProgram : [])].map((p) => p.dispatches);
    if (step.head === "none") {
      submit(this.gpu, programs);
      return Promise.resolve({ tokens: null, values: null });
    }
    const head = step.head as keyof typeof this.words;
    const source = head === "sample" ? this.batch.tokens.buffer : program.outputs["output"]!.buffer;
    const ring = head === "logits" ? this.large : this.ring;
    const pending = ring.take(source, step.batch.samples.length * this.words[head] * 4);
    submit(this.gpu, programs, pending.copies);
    return pending.read().then((bytes): StepResult => {
      if (head === "sample") return { tokens: new Uint32Array(bytes), values: null };
      if (head === "process") return rankedResult(bytes);
      return { tokens: null, values: new Float32Array(bytes) };
    });
  }

  /** A place of a session's pages, out of the cache or into it. */
  private move({ pages, bytes }: Transfer): Promise<StepResult> {
    const { gpu, cache } = this;
    const parts = this.planes.flatMap(({ layer, pool, start, pageBytes }) => {
      const page = pages[pool];
      const from = cache.layers[layer]!.pool.buffer;
      return page === undefined ? [] : [{ from, offset: start + page * pageBytes, bytes: pageBytes }];
    });
    if (!bytes) {
      const pending = this.large.gather(parts);
      submit(gpu, [], pending.copies);
      return pending.read().then((words) => ({ tokens: null, values: new Float32Array(words) }));
    }
    let at = 0;
    for (const { from, offset, bytes: length } of parts) {
      gpu.queue.writeBuffer(from, offset, bytes, at, length);
      at += length;
    }
    invariant(at === bytes.length, `${bytes.length} bytes for a place of ${at}`);
    return gpu.queue.onSubmittedWorkDone().then(() => ({ tokens: null, values: null }));
  }

  private programFor(step: Step): Program & Outputs {
    const { rows, samples, read } = this.buckets;
    const { head, batch } = step;
    if (head === "logits" || head === "score") {
      return this.programs.get(keyOf({ rows: read, samples: read, head, longest: Infinity }))!;
    }
    const drawn = head === "none" ? 1 : samples.find((n) => n >= batch.samples.length)!;
    // One row may be drawn from several times (forks), but there is no program of one row for that.
    for (const n of rows.filter((count) => count >= step.rows)) {
      const longest = this.lengths(n).find((most) => most >= step.longest)!;
      const program = this.programs.get(keyOf({ rows: n, samples: drawn, head, longest }));
      if (program) return program;
    }
    return bug(`no program for ${step.rows} rows and ${drawn} samples`);
  }

  private setUp({ slot, length, counter, sampling, sequence }: SlotSetup): void {
    const { batch, gpu } = this;
    const state = new Uint32Array(STATE_WORDS);
    state[0] = length;
    state[1] = length;
    state[3] = counter;
    gpu.queue.writeBuffer(batch.state.buffer, slot * STATE_WORDS * 4, state);
    if (!sampling) return;
    writeSampling(gpu.queue, batch, slot, sampling);
    if (!hasPenalties(sampling)) return;
    const { ids } = sequence.group;
    const prompt = ids.length - sampling.drawn;
    writeCounts(gpu.queue, batch, slot, ids.slice(0, prompt), [...ids.slice(prompt), ...sequence.received]);
  }

  /** New entries of a page table. What was submitted before still reads the old ones: writes keep the queue's order. */
  private grow({ slot, pool, at, pages }: Growth): void {
    const { table, batch } = this;
    const { buffer } = pool > 0 ? batch.windowTable! : batch.pageTable;
    const { pagesPerSequence } = batch.limits;
    invariant(at + pages.length <= pagesPerSequence, "a page table holds one context");
    pages.forEach((page, i) => {
      table[2 * i] = page;
      table[2 * i + 1] = (at + i) * this.cache.pageSize;
    });
    const offset = (slot * pagesPerSequence + at) * 8;
    this.gpu.queue.writeBuffer(buffer, offset, table, 0, pages.length * 2);
  }
}

/** Words of one sample of a step with processors: (token u32, log-probability f32) of its choice and of the best ones. */
const RANKED_WORDS = 2 * (1 + MAX_LOGPROBS);

/** The most that a step other than a reading of logits brings back. */
function resultBytes({ limits: { samples, slots } }: Batch): number {
  return Math.max(samples, slots * RANKED_WORDS) * 4;
}

function rankedResult(bytes: ArrayBuffer): StepResult {
  const [words, floats] = [new Uint32Array(bytes), new Float32Array(bytes)];
  const entry = (at: number): TokenLogprob => ({ id: words[at]!, logprob: floats[at + 1]! });
  return {
    tokens: words.filter((_, i) => i % RANKED_WORDS === 0),
    values: null,
    logprobsOf: (sample, count) => {
      const at = sample * RANKED_WORDS;
      const top = Array.from({ length: count }, (_, i) => entry(at + 2 * (i + 1)));
      // Fewer where fewer are allowed.
      return { ...entry(at), top: top.filter(({ id }) => id !== NO_TOKEN) };
    },
  };
}

const keyOf = ({ rows, samples, head, longest }: Shape): string => `${head} ${rows} ${samples} ${longest}`;

/** One step of a model: forward, head, what is made of the logits, and the advance of every sequence. */
function drawStep<C extends ModelConfig>(
  graph: Graph,
  family: Family<C>,
  model: Resident<C>,
  head: Head,
): Tensor | undefined {
  const hidden = family.forward(graph, model);
  let output: Tensor | undefined;
  if (head !== "none") {
    const logits = family.head(graph, model, hidden);
    if (head === "sample") sample(graph, logits);
    else if (head === "process") output = sample(graph, logits, { filters: true, logprobs: true }).logprobs;
    else output = head === "logits" ? logits : score(graph, logits);
  }
  advance(graph);
  return output;
}
