import { invariant } from "../base/assert.ts";
import { rowWords } from "../weights/quant/layout.ts";
import headLinearWgsl from "../../shaders/head_linear.wgsl?raw";
import headLinearTransposedWgsl from "../../shaders/head_linear_transposed.wgsl?raw";
import turnWgsl from "../../shaders/fragments/latent_turn.wgsl?raw";
import type { Range } from "./batch.ts";
import type { Binding } from "./define.ts";
import type { Graph, Tensor } from "./graph.ts";
import type { Linear } from "./linear.ts";
import { rotary, type RopeTable } from "./rope.ts";
import { unroll } from "./unroll.ts";
import { weightFragment } from "./weights.ts";

/** Rows of x that one pass over the weights serves. */
const TILE = 8;

export interface HeadLinearOptions {
  readonly heads: number;
  /** A head's rows of the matrix: `count` from start + head · step on; equal parts of all rows where absent. */
  readonly rows?: { readonly start: number; readonly count: number; readonly step: number };
  /** y = x · W instead of x · Wᵀ: a head's x is as long as its rows are many, its result as wide as the matrix. */
  readonly transposed?: boolean;
  /** Elements from one head's part of x to the next one's; as many as are read where absent. */
  readonly inputStep?: number;
  /** Where results go: `step` elements from one head's to the next one's. A tensor without gaps where absent. */
  readonly into?: { readonly out: Tensor; readonly step: number };
  /** With `transposed`: what follows a head's elements of x is rotated and put behind its results. */
  readonly behind?: { readonly rope: RopeTable; readonly interleaved: boolean };
  /** Not with `transposed`: the four elements that follow a head's of x go behind its results as they are. */
  readonly rest?: boolean;
  /** Tiles of rows whose results nobody reads. */
  readonly skip?: HeadSkip;
}

/** A fragment with `fn skips(first: u32) -> bool`, the same for all lanes: whether rows first … first + TILE − 1 are left out. */
export interface HeadSkip {
  readonly fragments: readonly string[];
  /** Bindings beside `rows` and `states`. */
  readonly bindings: readonly Binding[];
  readonly given: Readonly<Record<string, Tensor | Range>>;
}

/**
 * A linear layer for each head, y[m, h] = W_h · x[m, h] with W_h a head's rows of one matrix: [rows, heads · N] f32 from
 * [rows, heads · K]. One dispatch. The matrix has to be one part.
 */
export function headLinear(graph: Graph, x: Tensor, layer: Linear, options: HeadLinearOptions): Tensor {
  const { heads, transposed = false, into, behind, rest = false, skip } = options;
  const even = layer.outFeatures / heads;
  const { start, count, step } = options.rows ?? { start: 0, count: even, step: even };
  const columns = layer.inFeatures;
  const [inputs, outputs] = transposed ? [count, columns] : [columns, count];
  const { inputStep = inputs } = options;
  const out = into?.out ?? graph.tensor("rows", heads * outputs);
  const outStep = into?.step ?? outputs;
  const [part] = layer.parts;
  invariant(part && layer.parts.length === 1, `${layer.name} is in ${layer.parts.length} parts; heads need one`);
  invariant((heads - 1) * step + start + count <= layer.outFeatures, `${layer.name}: rows of ${heads} heads`);
  invariant(x.extent === "rows" && out.extent === "rows", "a linear layer for each head takes the batch's rows");
  const more = behind?.rope.dim ?? (rest ? 4 : 0);
  const [inputEnd, outEnd] = [(heads - 1) * inputStep + inputs + more, (heads - 1) * outStep + outputs + more];
  invariant(x.width >= inputEnd, `${layer.name}: input of ${x.width} for ${heads} heads`);
  invariant(out.width >= outEnd, `${layer.name}: result of ${out.width} for ${heads} heads`);
  invariant(!behind || (transposed && count % 4 === 0), `${layer.name}: ${count} elements before those that rotate`);
  invariant(!rest || !transposed, `${layer.name}: a rest as it is behind results by columns`);
  invariant(
    [columns, inputStep, x.width, transposed ? outStep : 0].every((n) => n % 4 === 0),
    `${layer.name}: ${columns} columns, heads ${inputStep} apart: not in fours`,
  );
  const tile = graph.rows === 1 ? 1 : TILE;
  const turn = behind && rotary(behind.rope, behind.interleaved);
  const placed = turn !== undefined || skip !== undefined;
  graph.dispatch(
    {
      name: `head_linear ${layer.layout}`,
      wgsl: unroll(transposed ? headLinearTransposedWgsl : headLinearWgsl, { TILE: tile }),
      fragments: [
        weightFragment(layer.layout),
        ...(turn ? [turn.fragment, turnWgsl] : transposed ? [NOTHING_BEHIND] : []),
        ...(skip?.fragments ?? [NOTHING_SKIPPED]),
      ],
      params: {
        columns: "u32",
        rowWords: "u32",
        rowStart: "u32",
        rowStep: "u32",
        count: "u32",
        xWidth: "u32",
        xStep: "u32",
        outWidth: "u32",
        outStep: "u32",
      },
      constants: { TILE: tile, ...turn?.constants },
      bindings: [
        { name: "x", access: "read", type: transposed ? "array<f32>" : "array<vec4f>" },
        { name: "weights", access: "read", type: "array<u32>" },
        ...(placed ? PLACED : []),
        ...(turn?.bindings ?? []),
        ...(skip?.bindings ?? []),
        { name: "out", access: "read_write", type: transposed ? "array<vec4f>" : "array<f32>" },
      ],
    },
    {
      columns,
      rowWords: rowWords(layer.layout, columns),
      rowStart: start,
      rowStep: step,
      count,
      xWidth: x.width,
      xStep: inputStep,
      outWidth: out.width,
      outStep,
    },
    {
      x,
      weights: part.weights,
      ...(placed && { rows: graph.batch.rows, states: graph.batch.state }),
      ...turn?.ranges,
      ...skip?.given,
      out,
    },
    [Math.ceil(outputs / (transposed ? 64 : 8)) + (turn || rest ? 1 : 0), Math.ceil(graph.rows / tile), heads],
  );
  return out;
}

/** Where a row stands in its sequence. */
const PLACED: readonly Binding[] = [
  { name: "rows", access: "read", type: "array<Row>" },
  { name: "states", access: "read", type: "array<State>" },
];
const NOTHING_SKIPPED = "fn skips(first: u32) -> bool { return false; }";
const NOTHING_BEHIND = "fn turnRest(lane: u32, first: u32, head: u32) {}";
