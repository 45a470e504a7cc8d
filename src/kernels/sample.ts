import { invariant } from "../base/assert.ts";
import mergeWgsl from "../../shaders/fragments/partial_merge.wgsl?raw";
import randomWgsl from "../../shaders/fragments/random.wgsl?raw";
import advanceWgsl from "../../shaders/advance.wgsl?raw";
import drawWgsl from "../../shaders/draw.wgsl?raw";
import sampleWgsl from "../../shaders/sample.wgsl?raw";
import scoreWgsl from "../../shaders/score.wgsl?raw";
import type { Binding } from "./define.ts";
import type { Graph, Tensor } from "./graph.ts";

const read = (name: string, type: string): Binding => ({ name, access: "read", type });
const write = (name: string, type: string): Binding => ({ name, access: "read_write", type });

/** Logits that one workgroup looks at. */
const CHUNK = 1024;

/**
 * Picks a token for every sample: greedy at temperature 0 (the lowest id among equals), else a draw from
 * softmax(logits / temperature) by the Gumbel-max trick. Tokens go to `batch.tokens` and to each slot's state.
 * Returns the processed distribution, [samples, vocab] f32, for those who verify drafts against it.
 */
export function sample(graph: Graph, logits: Tensor): Tensor {
  invariant(logits.extent === "samples", "logits are of sampled rows");
  const { batch } = graph;
  const vocab = logits.width;
  const chunks = Math.ceil(vocab / CHUNK);
  const distribution = graph.tensor("samples", vocab);
  const partials = graph.tensor("samples", chunks * 4);
  graph.dispatch(
    {
      name: "sample",
      wgsl: sampleWgsl,
      fragments: [randomWgsl, mergeWgsl],
      params: {},
      constants: { VOCAB: vocab, CHUNK, CHUNKS: chunks },
      bindings: [
        read("samples", "array<Sample>"),
        read("states", "array<State>"),
        read("options", "array<Options>"),
        read("mask", "array<u32>"),
        read("logits", "array<f32>"),
        write("distribution", "array<f32>"),
        write("partials", "array<Partial>"),
      ],
    },
    {},
    {
      samples: batch.samples,
      states: batch.state,
      options: batch.sampling,
      mask: batch.mask,
      logits,
      distribution,
      partials,
    },
    [chunks, graph.samples],
  );
  graph.dispatch(
    {
      name: "draw",
      wgsl: drawWgsl,
      fragments: [mergeWgsl],
      params: {},
      constants: { CHUNKS: chunks },
      bindings: [
        read("samples", "array<Sample>"),
        read("partials", "array<Partial>"),
        write("states", "array<State>"),
        write("tokens", "array<u32>"),
      ],
    },
    {},
    { samples: batch.samples, partials, states: batch.state, tokens: batch.tokens },
    [graph.samples],
  );
  return distribution;
}

/** Log-probability of each sample's `token`: [samples, 1] f32. */
export function score(graph: Graph, logits: Tensor): Tensor {
  const scores = graph.tensor("samples", 1);
  graph.dispatch(
    {
      name: "score",
      wgsl: scoreWgsl,
      params: {},
      constants: { VOCAB: logits.width },
      bindings: [read("samples", "array<Sample>"), read("logits", "array<f32>"), write("scores", "array<f32>")],
    },
    {},
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
