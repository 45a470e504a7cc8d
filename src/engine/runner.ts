import type { Gpu } from "../gpu/device.ts";
import { submit } from "../gpu/pass.ts";
import { Readback } from "../gpu/readback.ts";
import { copyPages } from "../kernels/pages.ts";
import { BatchWriter, SAMPLING_WORDS, STATE_WORDS, type Batch } from "../kernels/batch.ts";
import type { Pipelines } from "../kernels/define.ts";
import { Graph, GraphBuffers, type Outputs, type Program, type Tensor } from "../kernels/graph.ts";
import { advance, sample, score } from "../kernels/sample.ts";
import type { Tuning } from "../kernels/tuning.ts";
import type { Family, ModelConfig, Resident } from "../models/family.ts";
import type { SlotSetup, Step } from "./scheduler.ts";

/** Results of a step on their way. Exactly one is not null once it resolves, or none for a step without a head. */
export interface StepResult {
  readonly tokens: Uint32Array | null;
  readonly values: Float32Array | null;
}

type Head = Step["head"];

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

  private constructor(
    private readonly gpu: Gpu,
    private readonly batch: Batch,
    private readonly vocabSize: number,
    private readonly pageSize: number,
    /** Tokens and scores, a slot for each step under way; logits, one slot. */
    private readonly ring: Readback,
    private readonly logits: Readback,
    readRows: number,
  ) {
    this.writer = new BatchWriter(batch, gpu.queue);
    const { rows, slots } = batch.limits;
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
    const ring = await Readback.create(gpu.arena, "results", options.steps, batch.limits.samples * 4);
    const logits = await Readback.create(gpu.arena, "logits", 1, options.readRows * model.config.vocabSize * 4);
    const runner = new Runner(gpu, batch, model.config.vocabSize, model.cache.pageSize, ring, logits, options.readRows);
    const graphs = [...runner.shapes()].map(({ rows, samples, head }) => {
      const graph = new Graph(pipelines, batch, rows, samples, options.tuning);
      const output = drawStep(graph, family, model, head);
      const outputs: Record<string, Tensor> = output ? { output } : {};
      return { key: keyOf(rows, samples, head), graph, outputs };
    });
    const buffers = new GraphBuffers(gpu.device, gpu.arena);
    await buffers.reserve(graphs);
    for (const { key, graph, outputs } of graphs) runner.programs.set(key, await buffers.program(graph, outputs));
    const copies = new Graph(pipelines, batch, 1, 1);
    copyPages(copies, model.cache);
    runner.copyProgram.push(await buffers.program(copies));
    return runner;
  }

  private *shapes(): Iterable<{ rows: number; samples: number; head: Head }> {
    for (const rows of this.buckets.rows) {
      for (const samples of this.buckets.samples) {
        if (samples === 1 || rows > 1) yield { rows, samples, head: "sample" };
      }
      yield { rows, samples: 1, head: "none" };
    }
    const { read } = this.buckets;
    yield { rows: read, samples: read, head: "logits" };
    yield { rows: read, samples: read, head: "score" };
  }

  /** Encodes and submits; the promise resolves when the results are on the host. Nothing here waits for the GPU. */
  run(step: Step): Promise<StepResult> {
    for (const setup of step.setups) this.setUp(setup);
    this.writer.write(step.batch);
    const program = this.programFor(step);
    const programs = [...(step.batch.copies.length ? this.copyProgram : []), program].map((p) => p.dispatches);
    if (step.head === "none") {
      submit(this.gpu, programs);
      return Promise.resolve({ tokens: null, values: null });
    }
    const count = step.batch.samples.length;
    const source = step.head === "sample" ? this.batch.tokens.buffer : program.outputs["output"]!.buffer;
    const logits = step.head === "logits";
    const pending = (logits ? this.logits : this.ring).take(source, count * (logits ? this.vocabSize : 1) * 4);
    submit(this.gpu, programs, [pending.copy]);
    return pending.read().then((bytes) => {
      const sampled = step.head === "sample";
      return { tokens: sampled ? new Uint32Array(bytes) : null, values: sampled ? null : new Float32Array(bytes) };
    });
  }

  private programFor(step: Step): Program & Outputs {
    const reading = step.head === "logits" || step.head === "score";
    const rows = reading ? this.buckets.read : this.buckets.rows.find((n) => n >= step.rows)!;
    const samples = reading
      ? this.buckets.read
      : step.head === "none"
        ? 1
        : this.buckets.samples.find((n) => n >= step.batch.samples.length)!;
    return this.programs.get(keyOf(rows, samples, step.head))!;
  }

  private setUp({ slot, pages, length, temperature, seed }: SlotSetup): void {
    const { batch, gpu } = this;
    const state = new Uint32Array(STATE_WORDS);
    state[0] = length;
    state[1] = length;
    gpu.queue.writeBuffer(batch.state.buffer, slot * STATE_WORDS * 4, state);
    const options = new DataView(new ArrayBuffer(SAMPLING_WORDS * 4));
    options.setFloat32(0, temperature, true);
    options.setUint32(4, seed, true);
    gpu.queue.writeBuffer(batch.sampling.buffer, slot * SAMPLING_WORDS * 4, options.buffer);
    const table = new Uint32Array(pages.length * 2);
    pages.forEach((page, i) => table.set([page, i * this.pageSize], i * 2));
    gpu.queue.writeBuffer(batch.pageTable.buffer, slot * batch.limits.pagesPerSequence * 8, table);
  }
}

const keyOf = (rows: number, samples: number, head: Head): string => `${head} ${rows} ${samples}`;

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
    output = head === "logits" ? logits : head === "score" ? score(graph, logits) : undefined;
  }
  advance(graph);
  return output;
}
