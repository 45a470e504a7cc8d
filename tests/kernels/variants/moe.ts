import type { Range } from "../../../src/kernels/batch.ts";
import type { Gate } from "../../../src/kernels/epilogue.ts";
import { experts, type ExpertOptions, type Experts } from "../../../src/kernels/experts.ts";
import { Graph } from "../../../src/kernels/graph.ts";
import { route, type Routing } from "../../../src/kernels/router.ts";
import { PORTABLE } from "../../../src/kernels/tuning.ts";
import { RESIDENT_LAYOUTS, type ResidentLayout } from "../../../src/weights/quant/layout.ts";
import { flags, type Drawing } from "./drawing.ts";

const routers: Drawing[] = (["softmax", "sigmoid"] as const).flatMap((score) =>
  flags(3).flatMap(([renormalise, bias, slots], i) =>
    ([undefined, "best", "best two"] as const).map((groups): Drawing => ({
      name: `moe route ${score} ${[renormalise, bias, slots].map(Number).join("")} ${groups ?? ""}`,
      draw: (graph, range) => {
        // Narrow and wide workgroups in turn.
        const count = i % 2 === 0 ? 8 : 256;
        route(graph, graph.tensor("rows", count + 1), {
          experts: count,
          topK: 2,
          score,
          ...(renormalise && { renormalise }),
          ...(bias && { bias: range }),
          ...(slots && { slots: range }),
          ...(groups && { groups: { count: 4, top: 2, score: groups } }),
          ...(bias !== slots && { counts: range }),
          ...(renormalise !== bias && { shared: { count: 1, ...(slots && { gate: count }) } }),
        });
      },
    })),
  ),
);

function layerOf(layout: ResidentLayout, range: Range, bias: boolean): Experts {
  const matrix = (name: string, inFeatures: number, outFeatures: number): Experts["down"] => ({
    name,
    inFeatures,
    outFeatures,
    layout,
    parts: [{ weights: range, rowStart: 0, rowCount: outFeatures }],
    ...(bias && { bias: range }),
  });
  return { slots: 4, gateUp: matrix("gate and up", 64, 4 * 64), down: matrix("down", 32, 4 * 64) };
}

interface Options extends Pick<ExpertOptions, "gate"> {
  norm?: boolean | undefined;
  bias?: boolean | undefined;
  residual?: boolean | undefined;
  shared?: boolean | undefined;
  gated?: boolean | undefined;
}

function drawExperts(graph: Graph, range: Range, layout: ResidentLayout, rows: number, on: Options): void {
  const beside = new Graph(graph.pipelines, graph.batch, rows, rows, PORTABLE);
  const value = beside.tensor("rows", 64);
  const routes = beside.tensor("rows", 4);
  const routing: Routing = { experts: 4, topK: 2, ids: routes, routes };
  experts(beside, beside.tensor("rows", 64), routing, layerOf(layout, range, on.bias ?? false), {
    gate: on.gate,
    ...(on.norm && { norm: { gain: range, eps: 1e-5 } }),
    ...(on.residual && { residual: value }),
    ...(on.shared && { shared: { value, ...(on.gated && { gate: { logits: routes, column: 1 } }) } }),
  });
  graph.ops.push(...beside.ops);
}

/** Rows that are taken pair by pair, in blocks of 16 and in blocks of 32. */
const ROWS = [4, 16, 64];

const gates: Gate[] = ["silu", "gelu-tanh", "gelu-erf", "relu", "relu2", "swiglu-clamped"];
const options: [layout: ResidentLayout, on: Options][] = [
  ...flags(5).map(([norm, bias, residual, shared, gated]): [ResidentLayout, Options] => [
    "f16",
    { gate: "silu", norm, bias, residual, shared, gated },
  ]),
  ...RESIDENT_LAYOUTS.map((layout): [ResidentLayout, Options] => [layout, { gate: "silu", norm: true }]),
  ...gates.map((gate): [ResidentLayout, Options] => ["q4", { gate }]),
];

const layers: Drawing[] = options.flatMap(([layout, on]) =>
  ROWS.map((rows): Drawing => ({
    name: `moe experts ${layout} ${rows} rows ${JSON.stringify(on)}`,
    draw: (graph, range) => {
      drawExperts(graph, range, layout, rows, on);
    },
  })),
);

export const drawings: Drawing[] = [...routers, ...layers];
