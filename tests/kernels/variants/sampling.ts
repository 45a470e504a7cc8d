import { Graph } from "../../../src/kernels/graph.ts";
import { advance, sample, score } from "../../../src/kernels/sample.ts";
import { PORTABLE } from "../../../src/kernels/tuning.ts";
import { flags, type Drawing } from "./drawing.ts";

const plain = [5, 1024, 1025, 262_144].map((vocab): Drawing => ({
  name: `sampling of ${vocab}`,
  draw: (graph) => {
    const logits = graph.tensor("samples", vocab);
    sample(graph, logits);
    score(graph, logits);
    advance(graph);
  },
}));

const filtered = [5, 1025, 262_144].flatMap((vocab) =>
  flags(2).map(([logprobs, penalties]): Drawing => ({
    name: `filtered sampling of ${vocab}${logprobs ? ", log-probabilities" : ""}${penalties ? ", penalties" : ""}`,
    draw: (graph, range) => {
      const batch = { ...graph.batch, ...(penalties && { counts: range }) };
      const own = new Graph(graph.pipelines, batch, graph.rows, graph.samples, PORTABLE);
      sample(own, own.tensor("samples", vocab), { filters: true, logprobs: logprobs! });
      graph.ops.push(...own.ops);
    },
  })),
);

export const drawings: Drawing[] = [...plain, ...filtered];
