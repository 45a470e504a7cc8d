import { PATTERNS } from "../../kernels/fill.ts";
import { sample } from "../../kernels/sample.ts";
import type { ModelShape } from "../shapes.ts";
import { decoding, type KernelCase } from "./case.ts";

/** A token for each of `samples` rows, greedy or with filters. Traffic: the logits in, the processed ones out. */
export function sampleCase(model: ModelShape, samples: number, filters = false): KernelCase {
  const { vocab } = model;
  return {
    name: `sample/${model.name}/${filters ? "filtered" : "greedy"}/m${samples}`,
    scene: {
      ...decoding(samples, 0),
      sampled: true,
      vocabSize: vocab,
      ...(filters && { sampling: { temperature: 0.8, topK: 50, topP: 0.95 } }),
    },
    setBytes: 0,
    pattern: PATTERNS.f32,
    bytes: samples * vocab * 8,
    flops: samples * vocab,
    draw: (graph) => sample(graph, graph.tensor("samples", vocab), { filters }).distribution,
  };
}
