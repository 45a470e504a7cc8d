import { advance, sample, score } from "../../../src/kernels/sample.ts";
import type { Drawing } from "./drawing.ts";

export const drawings: Drawing[] = [5, 1024, 1025, 262_144].map((vocab): Drawing => ({
  name: `sampling of ${vocab}`,
  draw: (graph) => {
    const logits = graph.tensor("samples", vocab);
    sample(graph, logits);
    score(graph, logits);
    advance(graph);
  },
}));
