import { Graph, type Tensor } from "../../../src/kernels/graph.ts";
import { embed, linear, type Activation, type Gate, type LinearOptions } from "../../../src/kernels/linear.ts";
import { PORTABLE, type Tuning } from "../../../src/kernels/tuning.ts";
import type { Range } from "../../../src/kernels/batch.ts";
import { RESIDENT_LAYOUTS, type ResidentLayout } from "../../../src/weights/quant/layout.ts";
import { GROUPED_FORMATS } from "../../../src/weights/quant/grouped.ts";
import { flags, layer, LAYOUTS, type Drawing } from "./drawing.ts";

/** As many rows as the graph was recorded for, or more, or with another tuning: in a graph beside it. */
interface Shape {
  rows?: number;
  tuning?: Partial<Tuning>;
}

function drawn(graph: Graph, shape: Shape, draw: (graph: Graph) => void): void {
  const rows = shape.rows ?? graph.rows;
  const beside = new Graph(graph.pipelines, graph.batch, rows, rows, { ...PORTABLE, ...shape.tuning });
  draw(beside);
  graph.ops.push(...beside.ops);
}

type Flags = [norm: boolean, bias: boolean, residual: boolean, gated: boolean, gather: boolean];

function drawLinear(graph: Graph, layout: ResidentLayout, range: Range, given: Flags): Tensor {
  const [norm, bias, residual, gated, gather] = given;
  return linear(graph, graph.tensor("rows", 64), layer(layout, range, bias), {
    ...(norm && { norm: { gain: range, eps: 1e-5 } }),
    ...(residual && { residual: graph.tensor(gather ? "samples" : "rows", gated ? 32 : 64) }),
    ...(gated && { swiglu: true }),
    ...(gather && { gather }),
  });
}

const named = (what: string, shape: Shape, draw: (graph: Graph, range: Range) => void): Drawing => ({
  name: `linear ${what}`,
  draw: (graph, range) => {
    drawn(graph, shape, (beside) => draw(beside, range));
  },
});

/** Every combination in one layout; in the others none, each alone, and all. */
const combinations = (layout: ResidentLayout): boolean[][] =>
  flags(5).filter((on) => layout === "q4" || [0, 1, 5].includes(on.filter(Boolean).length));

const every: Drawing[] = LAYOUTS.flatMap((layout) =>
  combinations(layout).flatMap((on): Drawing[] =>
    [{}, { rows: 64 }].map((shape) =>
      named(`${layout} ${on.map(Number).join("")}`, shape, (graph, range) =>
        drawLinear(graph, layout, range, on as Flags),
      ),
    ),
  ),
);

/** Integer dot products: two dispatches, so under another name. */
const packed: Drawing[] = GROUPED_FORMATS.flatMap((layout) =>
  [{}, { rows: 64 }].map((shape): Drawing => ({
    ...named(layout, { ...shape, tuning: { packedDot: true } }, (graph, range) =>
      drawLinear(graph, layout, range, [true, true, true, true, layout === "q4"]),
    ),
    name: `packed ${layout}`,
  })),
);

const layouts: Drawing[] = RESIDENT_LAYOUTS.flatMap((layout) =>
  [{}, { rows: 64 }, { tuning: { deterministic: true }, rows: 64 }].map((shape) =>
    named(layout, shape, (graph, range) => drawLinear(graph, layout, range, [true, true, true, true, true])),
  ),
);

const activations: Activation[] = ["silu", "gelu-tanh", "gelu-erf", "relu", "relu2"];
const gates: Gate[] = [...activations, "swiglu-clamped"];
const ends: LinearOptions[] = [
  ...activations.map((activation) => ({ activation })),
  ...gates.map((gate) => ({ gate, limit: 7 })),
  { softCap: 30, scale: 2 },
];

const epilogues: Drawing[] = ends.flatMap((options) =>
  [{}, { rows: 64 }].map((shape) =>
    named(JSON.stringify(options), shape, (graph, range) =>
      linear(graph, graph.tensor("rows", 64), layer("q4", range), options),
    ),
  ),
);

const tiles: Drawing[] = [
  { matVec: { ...PORTABLE.matVec, workgroup: 64, rowsPerLane: 2 } },
  { matVec: { ...PORTABLE.matVec, workgroup: 256, lanesPerRow: 64 } },
].map((tuning) =>
  named(JSON.stringify(tuning), { tuning }, (graph, range) =>
    drawLinear(graph, "q4", range, [true, false, false, false, false]),
  ),
);

export const drawings: Drawing[] = [
  ...every,
  ...layouts,
  ...packed,
  ...epilogues,
  ...tiles,
  ...RESIDENT_LAYOUTS.map((layout): Drawing => ({
    name: `embed ${layout}`,
    draw: (graph, range) => embed(graph, layer(layout, range)),
  })),
];
