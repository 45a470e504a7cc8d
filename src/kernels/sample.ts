import { invariant } from "../base/assert.ts";
import afterWgsl from "../../shaders/fragments/after.wgsl?raw";
import countDrawnWgsl from "../../shaders/fragments/count_drawn.wgsl?raw";
import cutWgsl from "../../shaders/fragments/cut.wgsl?raw";
import mergeWgsl from "../../shaders/fragments/partial_merge.wgsl?raw";
import optionsWgsl from "../../shaders/fragments/sampling_options.wgsl?raw";
import randomWgsl from "../../shaders/fragments/random.wgsl?raw";
import filteredWgsl from "../../shaders/fragments/sample_filtered.wgsl?raw";
import plainWgsl from "../../shaders/fragments/sample_plain.wgsl?raw";
import subgroupsWgsl from "../../shaders/fragments/reduce_subgroups.wgsl?raw";
import workgroupWgsl from "../../shaders/fragments/reduce_workgroup.wgsl?raw";
import advanceWgsl from "../../shaders/advance.wgsl?raw";
import drawWgsl from "../../shaders/draw.wgsl?raw";
import filterWgsl from "../../shaders/filter.wgsl?raw";
import logprobsWgsl from "../../shaders/logprobs.wgsl?raw";
import processWgsl from "../../shaders/process.wgsl?raw";
import rankWgsl from "../../shaders/rank.wgsl?raw";
import sampleWgsl from "../../shaders/sample.wgsl?raw";
import scoreWgsl from "../../shaders/score.wgsl?raw";
import type { Batch, Range } from "./batch.ts";
import type { Binding, KernelSource } from "./define.ts";
import type { Graph, Tensor } from "./graph.ts";
import { MAX_LOGPROBS } from "./sampling.ts";

const read = (name: string, type: string): Binding => ({ name, access: "read", type });
const write = (name: string, type: string): Binding => ({ name, access: "read_write", type });

/** Logits that one workgroup looks at. */
const CHUNK = 1024;
/** Past this the 64-bit sum of probabilities could overflow (shaders/filter.wgsl). */
const MAX_VOCAB = 2 ** 19;

export interface SampleOptions {
  /** Processors and filters: whatever `SamplingOptions` knows beside temperature and seed. Without it those are ignored. */
  filters?: boolean;
  /** Log-probabilities for the slots that ask for them, with `filters`. */
  logprobs?: boolean;
}

export interface Sampled {
  /**
   * What was drawn from, for those who verify drafts against it: [samples, vocab] f32, logit / temperature (greedy: the
   * logit), −1e30 where a token cannot be drawn.
   */
  readonly distribution: Tensor;
  /**
   * [samples, 1 + MAX_LOGPROBS] of (token u32, log-probability f32): the chosen token, then the best in order, the lower id
   * of equals first. Of the softmax after penalties, bias and mask, at temperature 1 and before the filters (not vLLM's
   * "raw" ones, of the logits as they come). NO_TOKEN and −1e30 past what was asked for or is allowed.
   */
  readonly logprobs?: Tensor;
}

/**
 * Picks a token for every sample: greedy at temperature 0 (the lowest id among equals), else a draw from
 * softmax(logits / temperature) by the Gumbel-max trick. Tokens go to `batch.tokens` and to each slot's state; NO_TOKEN
 * where nothing is allowed. Two dispatches, four with `filters`, six with `logprobs`; a row that uses no filter gets the same
 * token in each of them.
 */
export function sample(graph: Graph, logits: Tensor, { filters, logprobs }: SampleOptions = {}): Sampled {
  invariant(filters || !logprobs, "log-probabilities come with filters");
  const shape = shapeOf(logits);
  if (!filters) {
    const { distribution, best } = distribute(graph, shape, { logits, mask: graph.batch.mask });
    draw(graph, shape, best);
    return { distribution };
  }
  const { processed, partials } = processLogits(graph, shape, logits);
  const cuts = filter(graph, shape, processed, partials);
  const { distribution, best } = distribute(graph, shape, { processed, cuts });
  draw(graph, shape, best);
  if (!logprobs) return { distribution };
  return { distribution, logprobs: rankLogprobs(graph, shape, processed, partials) };
}

function shapeOf(logits: Tensor): Shape {
  invariant(logits.extent === "samples", "logits are of sampled rows");
  return { vocab: logits.width, chunks: Math.ceil(logits.width / CHUNK) };
}

interface Shape {
  vocab: number;
  chunks: number;
}

/** What kernels bind under these names, and as which type. */
const TYPES: Record<string, string> = {
  samples: "array<Sample>",
  states: "array<State>",
  options: "array<Options>",
  mask: "array<u32>",
  counts: "array<u32>",
  logits: "array<f32>",
  processed: "array<f32>",
  distribution: "array<f32>",
  partials: "array<Partial>",
  cuts: "array<Cut>",
  ranked: "array<Ranked>",
  logprobs: "array<Ranked>",
  tokens: "array<u32>",
};

type Buffers = Record<string, Tensor | Range>;

/** One kernel of this file: what it reads, what it writes, by the names of TYPES. */
function dispatch(
  graph: Graph,
  shape: Shape,
  kernel: Pick<KernelSource, "name" | "wgsl" | "fragments">,
  buffers: { reads: Buffers; writes: Buffers },
  grid: readonly [number, number?],
  more: Record<string, number> = {},
): void {
  const params = { ...shape, ...more };
  const named = (of: Buffers, how: typeof read): Binding[] => Object.keys(of).map((name) => how(name, TYPES[name]!));
  graph.dispatch(
    {
      ...kernel,
      constants: { CHUNK, MOST: MAX_LOGPROBS },
      ...(kernel.fragments?.includes(subgroupsWgsl) && { enables: ["subgroups"] }),
      params: Object.fromEntries(Object.keys(params).map((name) => [name, "u32"])),
      bindings: [...named(buffers.reads, read), ...named(buffers.writes, write)],
    },
    params,
    { ...buffers.reads, ...buffers.writes },
    grid,
  );
}

/** The merge of a workgroup's partials, by subgroups where the device has them: the same bits. */
const merging = (graph: Graph): string[] => [mergeWgsl, graph.tuning.subgroups ? subgroupsWgsl : workgroupWgsl];

const samplesOf = ({ samples, sampling }: Batch): Buffers => ({ samples, options: sampling });

function processLogits(graph: Graph, shape: Shape, logits: Tensor): { processed: Tensor; partials: Tensor } {
  const { batch } = graph;
  const processed = graph.tensor("samples", shape.vocab);
  const partials = graph.tensor("samples", shape.chunks * 4);
  const counted = batch.counts ? COUNT_OF : NO_COUNTS;
  dispatch(
    graph,
    shape,
    { name: "process", wgsl: processWgsl, fragments: [optionsWgsl, ...merging(graph), counted] },
    {
      reads: { ...samplesOf(batch), mask: batch.mask, ...(batch.counts && { counts: batch.counts }), logits },
      writes: { processed, partials },
    },
    [shape.chunks, graph.samples],
  );
  return { processed, partials };
}

const COUNT_OF = "fn countOf(slot: u32, token: u32) -> u32 { return counts[slot * params.vocab + token]; }";
const NO_COUNTS = "fn countOf(slot: u32, token: u32) -> u32 { return 0u; }";
const NO_COUNTING = "fn countDrawn(slot: u32, token: u32) {}";

function filter(graph: Graph, shape: Shape, processed: Tensor, partials: Tensor): Tensor {
  invariant(shape.vocab <= MAX_VOCAB, `a vocabulary of ${shape.vocab}; filters take ${MAX_VOCAB}`);
  const cuts = graph.tensor("samples", 3);
  dispatch(
    graph,
    shape,
    { name: "filter", wgsl: filterWgsl, fragments: [optionsWgsl, mergeWgsl, cutWgsl] },
    { reads: { ...samplesOf(graph.batch), processed, partials }, writes: { cuts } },
    [graph.samples],
    { filters: 2, tokenDigits: Math.max(1, Math.ceil(Math.log2(shape.vocab) / 8)) },
  );
  return cuts;
}

/** The distribution, and the best key of each chunk, from logits and mask or from processed ones and cuts. */
function distribute(graph: Graph, shape: Shape, from: Buffers): { distribution: Tensor; best: Tensor } {
  const { batch } = graph;
  const distribution = graph.tensor("samples", shape.vocab);
  const best = graph.tensor("samples", shape.chunks * 4);
  const source = "cuts" in from ? [cutWgsl, filteredWgsl] : [plainWgsl];
  dispatch(
    graph,
    shape,
    {
      name: "sample",
      wgsl: sampleWgsl,
      fragments: [optionsWgsl, randomWgsl, ...merging(graph), ...source],
    },
    { reads: { ...samplesOf(batch), states: batch.state, ...from }, writes: { distribution, partials: best } },
    [shape.chunks, graph.samples],
  );
  return { distribution, best };
}

function draw(graph: Graph, shape: Shape, partials: Tensor): void {
  const { samples, sampling, state, tokens, counts } = graph.batch;
  dispatch(
    graph,
    shape,
    {
      name: "draw",
      wgsl: drawWgsl,
      fragments: [optionsWgsl, ...merging(graph), counts ? countDrawnWgsl : NO_COUNTING],
    },
    {
      reads: { samples, options: sampling, partials },
      writes: { states: state, tokens, ...(counts && { counts }) },
    },
    [graph.samples],
  );
}

function rankLogprobs(graph: Graph, shape: Shape, processed: Tensor, partials: Tensor): Tensor {
  const { batch } = graph;
  const ranked = graph.tensor("samples", shape.chunks * MAX_LOGPROBS * 2);
  const logprobs = graph.tensor("samples", (1 + MAX_LOGPROBS) * 2);
  const fragments = [optionsWgsl, ...merging(graph), afterWgsl];
  dispatch(
    graph,
    shape,
    { name: "rank", wgsl: rankWgsl, fragments },
    { reads: { ...samplesOf(batch), processed }, writes: { ranked } },
    [shape.chunks, graph.samples],
  );
  dispatch(
    graph,
    shape,
    { name: "logprobs", wgsl: logprobsWgsl, fragments },
    { reads: { ...samplesOf(batch), processed, partials, ranked, tokens: batch.tokens }, writes: { logprobs } },
    [graph.samples],
  );
  return logprobs;
}

/** Log-probability of each sample's `token`: [samples, 1] f32. */
export function score(graph: Graph, logits: Tensor): Tensor {
  const scores = graph.tensor("samples", 1);
  graph.dispatch(
    {
      name: "score",
      wgsl: scoreWgsl,
      params: { vocab: "u32" },
      bindings: [read("samples", "array<Sample>"), read("logits", "array<f32>"), write("scores", "array<f32>")],
    },
    { vocab: logits.width },
    { samples: graph.batch.samples, logits, scores },
    [graph.samples],
  );
  return scores;
}

/** Lets every sequence of the batch grow by what this step computed. The last dispatch of every step. */
export function advance(graph: Graph): void {
  graph.dispatch(
    {
      name: "advance",
      wgsl: advanceWgsl,
      params: {},
      bindings: [read("segments", "array<Segment>"), write("states", "array<State>")],
    },
    {},
    { segments: graph.batch.segments, states: graph.batch.state },
    [Math.ceil(graph.batch.limits.slots / 64)],
  );
}
