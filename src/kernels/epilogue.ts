import activationWgsl from "../../shaders/fragments/activation.wgsl?raw";
import epilogueWgsl from "../../shaders/fragments/epilogue.wgsl?raw";
import type { Binding } from "./define.ts";
import type { Graph, Tensor } from "./graph.ts";
import type { Linear, LinearPart, RmsNorm } from "./layer.ts";

/** Numbered as in fragments/activation.wgsl. */
const ACTIVATIONS = {
  none: 0,
  silu: 1,
  "gelu-tanh": 2,
  "gelu-erf": 3,
  relu: 4,
  relu2: 5,
  "swiglu-clamped": 6,
} as const;

export type Activation = "silu" | "gelu-tanh" | "gelu-erf" | "relu" | "relu2";

/**
 * The activation of the gate, the other half being multiplied with it: "silu" is SwiGLU, "gelu-tanh" and "gelu-erf" are
 * GeGLU, "swiglu-clamped" is gpt-oss's (gate and up cut at `limit`, α = 1.702, up + 1).
 */
export type Gate = Activation | "swiglu-clamped";

/** What a linear layer does with its results before they are stored, in this order. */
export interface EpilogueOptions {
  /** Applied to every result. Not together with a gate. */
  activation?: Activation;
  /** Rows 2j and 2j + 1 of the weight are gate and up; the result is act(gate) · up, half as wide. */
  gate?: Gate;
  /** Short for `gate: "silu"`. */
  swiglu?: boolean;
  /** Where "swiglu-clamped" cuts. */
  limit?: number;
  /** cap · tanh(y / cap) (Gemma 2's logits). */
  softCap?: number;
  /** Times this: residual multipliers, scaled logits. */
  scale?: number;
  /** Added to the result: [rows, width]. */
  residual?: Tensor;
}

export interface LinearOptions extends EpilogueOptions {
  /** RMS-normalise x first. */
  norm?: RmsNorm;
  /** Only the sampled rows of x: the result's extent is "samples". */
  gather?: boolean;
  /** x is wider than the matrix, which is multiplied with its first columns. */
  leading?: boolean;
}

export const gateOf = ({ gate, swiglu }: EpilogueOptions): Gate | undefined => gate ?? (swiglu ? "silu" : undefined);

/** Constants of fragments/activation.wgsl and epilogue.wgsl. */
export function epilogueConstants(options: EpilogueOptions): Record<string, number | boolean> {
  const gate = gateOf(options);
  return {
    ACTIVATION: ACTIVATIONS[gate ?? options.activation ?? "none"],
    GATED: gate !== undefined,
    SOFT_CAP: options.softCap !== undefined,
  };
}

export const EPILOGUE_PARAMS = {
  rowStart: "u32",
  rowCount: "u32",
  width: "u32",
  scale: "f32",
  cap: "f32",
  limit: "f32",
} as const;

export function epilogueParams(part: LinearPart, width: number, options: EpilogueOptions): Record<string, number> {
  const { scale = 1, softCap = 1, limit = 0 } = options;
  return { rowStart: part.rowStart, rowCount: part.rowCount, width, scale, cap: softCap, limit };
}

const read = (name: string, type: string): Binding => ({ name, access: "read", type });

/** The bindings that depend on a layer's options, with the fragments that read them or stand in for them. */
export interface Attached {
  readonly declared: readonly Binding[];
  readonly given: Readonly<Record<string, Tensor | LinearPart["weights"]>>;
  readonly fragments: readonly string[];
}

/** Bias, residual and the epilogue itself. A kernel adds `out`, and calls storePair(m, n, dots). */
export function attachEpilogue(layer: Linear, { residual }: EpilogueOptions): Attached {
  const bias = layer.bias;
  return {
    declared: [...(bias ? [read("bias", "array<f32>")] : []), ...(residual ? [read("residual", "array<f32>")] : [])],
    given: { ...(bias && { bias }), ...(residual && { residual }) },
    fragments: [
      bias ? "fn biasAt(n: u32) -> f32 { return bias[n]; }" : "fn biasAt(n: u32) -> f32 { return 0.0; }",
      residual
        ? "fn residualAt(i: u32) -> f32 { return residual[i]; }"
        : "fn residualAt(i: u32) -> f32 { return 0.0; }",
      activationWgsl,
      epilogueWgsl,
    ],
  };
}

export const INPUT_PARAMS = {
  columns: "u32",
  stride4: "u32",
  invColumns: "f32",
  eps: "f32",
  gainOffset: "f32",
} as const;

export function inputParams(columns: number, x: Tensor, norm: RmsNorm | undefined): Record<string, number> {
  const { eps = 0, offset = 0 } = norm ?? {};
  return { columns, stride4: x.width / 4, invColumns: 1 / columns, eps, gainOffset: offset };
}

/** The norm's gain and the choice of rows: `gainAt(k4)`, and `xStart(m)`, where row m of x begins in fours of columns. */
export function attachInput(graph: Graph, { norm, gather }: LinearOptions): Attached {
  return {
    declared: [...(norm ? [read("gain", "array<vec4f>")] : []), ...(gather ? [read("samples", "array<Sample>")] : [])],
    given: { ...(norm && { gain: norm.gain }), ...(gather && { samples: graph.batch.samples }) },
    fragments: [
      norm
        ? "fn gainAt(k4: u32) -> vec4f { return gain[k4] + params.gainOffset; }"
        : "fn gainAt(k4: u32) -> vec4f { return vec4f(1.0); }",
      `fn xStart(m: u32) -> u32 { return ${gather ? "samples[m].row" : "m"} * params.stride4; }`,
    ],
  };
}
