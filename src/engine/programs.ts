import { bug } from "../base/assert.ts";
import type { Gpu } from "../gpu/device.ts";
import type { Batch, CacheView, LatentView } from "../kernels/batch.ts";
import type { Kernel, Pipelines } from "../kernels/define.ts";
import { Graph, GraphBuffers, type Outputs, type Program, type Tensor } from "../kernels/graph.ts";
import { copyPages } from "../kernels/pages.ts";
import { advance, sample, score } from "../kernels/sample.ts";
import type { Tuning } from "../kernels/tuning.ts";
import type { Family, ModelConfig, Resident } from "../models/family.ts";
import { needsProcessors } from "./sampling.ts";
import type { Request } from "./sequence.ts";
import type { Step } from "./step.ts";

type Head = Exclude<Step["head"], "pages">;

/** What a program is recorded for: at most so many rows, samples, and entries of a sequence. */
interface Shape {
  readonly rows: number;
  readonly samples: number;
  readonly head: Head;
  readonly longest: number;
}

interface Recorded {
  readonly shape: Shape;
  readonly program: Program & Outputs;
  readonly kernels: readonly Kernel[];
}

/** Programs whose kernels are compiled: those with these heads, for short caches only or for all. */
interface Coverage {
  readonly heads: ReadonlySet<Head>;
  readonly long: boolean;
}

/** What a request's steps may ask for beside plain draws over short caches, which every engine is ready for. */
export interface Needs {
  readonly head: Head;
  /** Entries that its longest sequence may come to. */
  readonly longest: number;
}

/** The needs of a request, from what it may grow to. */
export function needsOf({ ids, task }: Request): Needs {
  switch (task.kind) {
    case "generate":
      return {
        head: needsProcessors(task.sampling) ? "process" : "sample",
        longest: ids.length + task.maxTokens,
      };
    case "logits":
    case "score":
      return { head: task.kind, longest: ids.length };
    case "save":
    case "restore":
      return { head: "none", longest: ids.length };
  }
}

/** Up to these attention splits the cache of each row among workgroups. */
const FEW_ROWS = 8;

/** Rows that programs are recorded for; a step takes the smallest that holds it. */
function rowBuckets(limit: number): number[] {
  return [...new Set([1, 8, 64, limit])].filter((n) => n <= limit).sort((a, b) => a - b);
}

/**
 * Every program that a step can ask for, recorded when the model is loaded, so that the token loop creates nothing.
 * Pipelines are another matter: those of filters, log-probabilities, logits and long caches are a third of a load on
 * slow drivers, and many a page never needs them. They are compiled before the first request that does.
 */
export class Programs {
  private readonly recorded = new Map<string, Recorded>();
  private readonly copies: Program[] = [];
  private readonly buckets: { rows: number[]; samples: number[]; read: number };
  /** Entries that a sequence may have. */
  private readonly capacity: number;
  /** What is compiled, and the end of what is being compiled. */
  private ready: Coverage = { heads: new Set(["sample", "none"]), long: false };
  private preparing: Promise<void> = Promise.resolve();

  private constructor(
    private readonly pipelines: Pipelines,
    { rows, slots, pagesPerSequence }: Batch["limits"],
    read: number,
    /** Entries of one split of the cache. */
    private readonly split: number,
    pageSize: number,
  ) {
    this.buckets = { rows: rowBuckets(rows), samples: [...new Set([1, slots])], read };
    this.capacity = pagesPerSequence * pageSize;
  }

  static async record<C extends ModelConfig>(
    gpu: Gpu,
    pipelines: Pipelines,
    family: Family<C>,
    model: Resident<C>,
    batch: Batch,
    { readRows, tuning }: { readRows: number; tuning: Tuning },
  ): Promise<Programs> {
    const { cache } = model;
    const programs = new Programs(pipelines, batch.limits, readRows, tuning.attention.split, cache.pageSize);
    const graphs = [...programs.shapes()].map((shape) => {
      const graph = new Graph(pipelines, batch, shape.rows, shape.samples, tuning, shape.longest);
      const output = drawStep(graph, family, model, shape.head);
      const outputs: Record<string, Tensor> = output ? { output } : {};
      return { shape, graph, outputs };
    });
    const buffers = new GraphBuffers(gpu.device, gpu.arena);
    await buffers.reserve(graphs);
    for (const { shape, graph, outputs } of graphs) {
      const kernels = graph.ops.map((op) => op.kernel);
      programs.recorded.set(keyOf(shape), { shape, program: await buffers.program(graph, outputs), kernels });
    }
    programs.copies.push(await copyProgram(pipelines, batch, cache, buffers));
    return programs;
  }

  /** Kernels that only needs beyond the plain ones have. */
  get later(): ReadonlySet<Kernel> {
    const now = new Set(this.kernels(this.ready));
    return new Set([...this.recorded.values()].flatMap(({ kernels }) => kernels.filter((k) => !now.has(k))));
  }

  /** What these programs are ready for, in the words of who asks for it. */
  get needs(): readonly Needs[] {
    const { heads, long } = this.ready;
    return [...heads].map((head) => ({ head, longest: long ? Infinity : 0 }));
  }

  isReadyFor(needs: Needs): boolean {
    const { heads, long } = this.ready;
    return heads.has(needs.head) && (long || !this.isLong(needs));
  }

  /**
   * Compiles what is missing for these needs. One at a time, so that each adds to what is there.
   * @throws GpuError; whoever asks next tries again
   */
  prepare(...all: readonly Needs[]): Promise<void> {
    this.preparing = this.preparing.catch(() => undefined).then(() => this.cover(all));
    return this.preparing;
  }

  private async cover(all: readonly Needs[]): Promise<void> {
    const { heads, long } = this.ready;
    const wanted = {
      heads: new Set([...heads, ...all.map(({ head }) => head)]),
      long: long || all.some((needs) => this.isLong(needs)),
    };
    await this.pipelines.compile(undefined, this.kernels(wanted));
    this.ready = wanted;
  }

  /** Rows of logits and scores are read by programs of their own, for caches of any length. */
  private isLong({ head, longest }: Needs): boolean {
    return longest > this.split && !isRead(head);
  }

  private kernels({ heads, long }: Coverage): Kernel[] {
    return [...this.recorded.values()].flatMap(({ shape, kernels }) => {
      const anyLength = shape.longest < Infinity || isRead(shape.head) || this.lengths(shape.rows).length === 1;
      return heads.has(shape.head) && (long || anyLength) ? kernels : [];
    });
  }

  /** The program of a step, and the one that copies pages behind it. */
  of(step: Step): { program: Program & Outputs; copies: readonly Program[] } {
    return { program: this.find(step), copies: step.batch.copies.length > 0 ? this.copies : [] };
  }

  private find({ head, batch, rows: needed, longest: entries }: Step): Program & Outputs {
    const { rows, samples, read } = this.buckets;
    if (head === "pages") return bug("a transfer has no program");
    const get = (shape: Shape) => this.recorded.get(keyOf(shape))?.program;
    if (isRead(head)) return get({ rows: read, samples: read, head, longest: Infinity })!;
    const drawn = head === "none" ? 1 : samples.find((n) => n >= batch.samples.length)!;
    // One row may be drawn from several times (forks), but there is no program of one row for that.
    for (const n of rows.filter((count) => count >= needed)) {
      const longest = this.lengths(n).find((most) => most >= entries)!;
      const program = get({ rows: n, samples: drawn, head, longest });
      if (program) return program;
    }
    return bug(`no program for ${needed} rows and ${drawn} samples`);
  }

  /** Few rows have a program without a merge of splits of the cache, for as long as one split holds every sequence. */
  private lengths(rows: number): number[] {
    return rows <= FEW_ROWS && this.split < this.capacity ? [this.split, Infinity] : [Infinity];
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
}

const keyOf = ({ rows, samples, head, longest }: Shape): string => `${head} ${rows} ${samples} ${longest}`;

const isRead = (head: Head): boolean => head === "logits" || head === "score";

async function copyProgram(
  pipelines: Pipelines,
  batch: Batch,
  cache: CacheView | LatentView,
  buffers: GraphBuffers,
): Promise<Program> {
  const graph = new Graph(pipelines, batch, 1, 1);
  copyPages(graph, cache);
  return buffers.program(graph);
}

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
