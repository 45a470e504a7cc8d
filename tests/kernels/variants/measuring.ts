import { peakMultiply, peakRead, peakTouch } from "../../../src/bench/peaks.ts";
import { fill, PATTERNS } from "../../../src/kernels/fill.ts";
import type { Drawing } from "./drawing.ts";

export const drawings: Drawing[] = [
  { name: "fill", draw: (graph, range) => fill(graph, range, PATTERNS.f32) },
  { name: "peak_read", draw: (graph, range) => void peakRead(graph, range, 4) },
  { name: "peak_multiply f32", draw: (graph) => void peakMultiply(graph, 300, 2) },
  { name: "peak_touch", draw: (graph) => peakTouch(graph, graph.tensor("one", 1)) },
];
