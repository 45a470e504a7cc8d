import { invariant } from "../base/assert.ts";
import type { Gpu } from "../gpu/device.ts";
import { submit } from "../gpu/pass.ts";
import { Readback } from "../gpu/readback.ts";
import { BatchWriter, NO_TOKEN, STATE_WORDS, type Batch, type CacheView, type LatentView } from "../kernels/batch.ts";
import type { Pipelines } from "../kernels/define.ts";
import { hasPenalties, MAX_LOGPROBS, writeCounts, writeSampling } from "../kernels/sampling.ts";
import type { Tuning } from "../kernels/tuning.ts";
import type { Family, ModelConfig, Resident } from "../models/family.ts";
import type { Logprobs, TokenLogprob } from "./port.ts";
import { placeBytes, planesOf, type Plane } from "./page-bytes.ts";
import { Programs } from "./programs.ts";
import type { Growth, SlotSetup, Step, Transfer } from "./step.ts";

/** Results of a step on their way. Tokens or values are not null once it resolves; neither for a step without a head. */
export interface StepResult {
  readonly tokens: Uint32Array | null;
  readonly values: Float32Array | null;
  /** After a step with processors: log-probabilities of a sample's token and of the `count` best ones. */
  readonly logprobsOf?: (sample: number, count: number) => Logprobs;
}

/** Encodes steps: one write of the batch, one pass, one submit, one copy of the results. */
export class Runner {
  private readonly writer: BatchWriter;
  /** Words that each sample of a step brings back. */
  private readonly words: Readonly<Record<"sample" | "process" | "logits" | "score", number>>;
  /** What goes into a page table, reused. */
  private readonly table: Uint32Array<ArrayBuffer>;

  private constructor(
    private readonly gpu: Gpu,
    readonly programs: Programs,
    private readonly batch: Batch,
    private readonly cache: CacheView | LatentView,
    private readonly planes: readonly Plane[],
    vocabSize: number,
    /** Tokens and scores, a slot for each step under way; logits or a place of a session's pages, one slot. */
    private readonly ring: Readback,
    private readonly large: Readback,
  ) {
    this.writer = new BatchWriter(batch, gpu.queue);
    this.words = { sample: 1, process: RANKED_WORDS, logits: vocabSize, score: 1 };
    this.table = new Uint32Array(batch.limits.pagesPerSequence * 2);
  }

  /** Records every program that a step can ask for and leaves their kernels to be compiled. `steps` may be under way. */
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
    const programs = await Programs.record(gpu, pipelines, family, model, batch, options);
    return new Runner(gpu, programs, batch, cache, planes, vocabSize, ring, large);
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
    const { program, copies } = this.programs.of(step);
    // Forks copy their page after the forward, which fills it; they write to it from the next step on.
    const programs = [program, ...copies].map((p) => p.dispatches);
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

  private setUp({ slot, length, counter, regime, sampling, sequence }: SlotSetup): void {
    const { batch, gpu } = this;
    const state = new Uint32Array(STATE_WORDS);
    state[0] = length;
    state[1] = length;
    state[3] = counter;
    state[5] = regime;
    gpu.queue.writeBuffer(batch.state.buffer, slot * STATE_WORDS * 4, state);
    if (!sampling) return;
    writeSampling(gpu.queue, batch, slot, { ...sampling, endIds: sequence.group.request.endIds });
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
