import { invariant } from "../base/assert.ts";
import { rowWords, type WeightLayout } from "../weights/quant/layout.ts";
import groupScale from "../../shaders/fragments/group_scale.wgsl?raw";
import weightsBf16 from "../../shaders/fragments/weights_bf16.wgsl?raw";
import weightsF16 from "../../shaders/fragments/weights_f16.wgsl?raw";
import weightsF32 from "../../shaders/fragments/weights_f32.wgsl?raw";
import weightsQ4 from "../../shaders/fragments/weights_q4.wgsl?raw";
import weightsQ8 from "../../shaders/fragments/weights_q8.wgsl?raw";
import embedWgsl from "../../shaders/embed.wgsl?raw";
import linearWgsl from "../../shaders/linear.wgsl?raw";
import type { Range } from "./batch.ts";
import type { Binding, KernelSource } from "./define.ts";
import type { Graph, Tensor } from "./graph.ts";

/** One buffer of a matrix: its rows [rowStart, rowStart + rowCount). A matrix past one binding's size has several. */
export interface LinearPart {
  readonly weights: Range;
  readonly rowStart: number;
  readonly rowCount: number;
}

/**
 * The handle of a linear layer, [outFeatures, inFeatures]: what models hold and kernels read. Frozen.
 * `lora` is the slot of adapters: a row with adapter id a adds B_a · A_a · x; empty until adapters are loaded.
 */
export interface Linear {
  readonly name: string;
  readonly inFeatures: number;
  readonly outFeatures: number;
  readonly layout: WeightLayout;
  readonly parts: readonly LinearPart[];
  /** [outFeatures] f32. */
  readonly bias?: Range;
  lora?: readonly { readonly a: Linear; readonly b: Linear; readonly scale: number }[];
}

/** An RMSNorm: gain [width] f32 in memory, added to nothing (Gemma's 1 + w is folded in at load). */
export interface RmsNorm {
  readonly gain: Range;
  readonly eps: number;
}

/** `weight4` of each layout. */
const WEIGHTS: Record<WeightLayout, string> = {
  f32: weightsF32,
  f16: weightsF16,
  bf16: weightsBf16,
  q8: groupScale + weightsQ8,
  q4: groupScale + weightsQ4,
};

const read = (name: string, type: string): Binding => ({ name, access: "read", type });

/** Rows of x that one pass over the weights serves. */
const TILE = 8;

export interface LinearOptions {
  /** RMS-normalise x first. */
  norm?: RmsNorm;
  /** Added to the result: [rows, outFeatures]. */
  residual?: Tensor;
  /** Rows of the weight are gate and up in turn; the result is silu(gate) · up, half as wide. */
  swiglu?: boolean;
  /** Only the sampled rows of x: the result's extent is "samples". */
  gather?: boolean;
}

/** y = x · Wᵀ (+ bias) (+ residual): [rows, outFeatures] f32, or half as wide with `swiglu`. One dispatch a part. */
export function linear(graph: Graph, x: Tensor, layer: Linear, options: LinearOptions = {}): Tensor {
  const { norm, residual, swiglu = false, gather = false } = options;
  invariant(x.width === layer.inFeatures, `${layer.name}: input of ${x.width} for ${layer.inFeatures} columns`);
  const width = swiglu ? layer.outFeatures / 2 : layer.outFeatures;
  const out = graph.tensor(gather ? "samples" : x.extent, width);
  const count = graph.count(out.extent);
  const source = linearSource(layer, options, count === 1 ? 1 : TILE);
  for (const part of layer.parts) {
    const groups = Math.ceil(part.rowCount / 16);
    const gridX = Math.min(groups, 32768);
    graph.dispatch(
      source,
      {
        columns: layer.inFeatures,
        rowWords: rowWords(layer.layout, layer.inFeatures),
        rowStart: part.rowStart,
        rowCount: part.rowCount,
        width,
        invColumns: 1 / layer.inFeatures,
        eps: norm?.eps ?? 0,
      },
      {
        x,
        weights: part.weights,
        out,
        ...(gather && { samples: graph.batch.samples }),
        ...(norm && { gain: norm.gain }),
        ...(layer.bias && { bias: layer.bias }),
        ...(residual && { residual }),
      },
      [gridX, Math.ceil(count / (count === 1 ? 1 : TILE)), Math.ceil(groups / gridX)],
    );
  }
  return out;
}

function linearSource(layer: Linear, options: LinearOptions, tile: number): KernelSource {
  const { norm, residual, swiglu, gather } = options;
  const bindings: Binding[] = [read("x", "array<vec4f>"), read("weights", "array<u32>")];
  const optional = (present: unknown, name: string, type: string, when: string, otherwise: string): string => {
    if (present) bindings.push(read(name, type));
    return present ? when : otherwise;
  };
  const fragments = [
    WEIGHTS[layer.layout],
    optional(norm, "gain", "array<vec4f>", "fn gainAt(k4: u32) -> vec4f { return gain[k4]; }", ONE4),
    optional(layer.bias, "bias", "array<f32>", "fn biasAt(n: u32) -> f32 { return bias[n]; }", NO_BIAS),
    optional(residual, "residual", "array<f32>", "fn residualAt(i: u32) -> f32 { return residual[i]; }", NO_RESIDUAL),
    optional(gather, "samples", "array<Sample>", "fn sampleRow(m: u32) -> u32 { return samples[m].row; }", NO_GATHER),
  ];
  bindings.push({ name: "out", access: "read_write", type: "array<f32>" });
  return {
    name: `linear ${layer.layout}`,
    wgsl: linearWgsl,
    fragments,
    bindings,
    params: {
      columns: "u32",
      rowWords: "u32",
      rowStart: "u32",
      rowCount: "u32",
      width: "u32",
      invColumns: "f32",
      eps: "f32",
    },
    constants: { TILE: tile, NORM: Boolean(norm), SWIGLU: Boolean(swiglu), GATHER: Boolean(gather) },
  };
}

const ONE4 = "fn gainAt(k4: u32) -> vec4f { return vec4f(1.0); }";
const NO_BIAS = "fn biasAt(n: u32) -> f32 { return 0.0; }";
const NO_RESIDUAL = "fn residualAt(i: u32) -> f32 { return 0.0; }";
const NO_GATHER = "fn sampleRow(m: u32) -> u32 { return m; }";

/** Rows of the table for the batch's tokens, times `scale`: [rows, inFeatures] f32. One dispatch a part. */
export function embed(graph: Graph, table: Linear, scale = 1): Tensor {
  const out = graph.tensor("rows", table.inFeatures);
  for (const part of table.parts) {
    graph.dispatch(
      {
        name: `embed ${table.layout}`,
        wgsl: embedWgsl,
        fragments: [WEIGHTS[table.layout]],
        params: { columns: "u32", rowWords: "u32", rowStart: "u32", rowCount: "u32", scale: "f32" },
        bindings: [
          read("rows", "array<Row>"),
          read("states", "array<State>"),
          read("weights", "array<u32>"),
          { name: "out", access: "read_write", type: "array<vec4f>" },
        ],
      },
      {
        columns: table.inFeatures,
        rowWords: rowWords(table.layout, table.inFeatures),
        rowStart: part.rowStart,
        rowCount: part.rowCount,
        scale,
      },
      { rows: graph.batch.rows, states: graph.batch.state, weights: part.weights, out },
      [Math.ceil(table.inFeatures / 256), graph.rows],
    );
  }
  return out;
}
