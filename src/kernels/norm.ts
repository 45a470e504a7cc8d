import { invariant } from "../base/assert.ts";
import rowSumMemory from "../../shaders/fragments/row_sum_memory.wgsl?raw";
import rowSumSubgroups from "../../shaders/fragments/row_sum_subgroups.wgsl?raw";
import normWgsl from "../../shaders/norm.wgsl?raw";
import type { Range } from "./batch.ts";
import type { Binding, KernelSource } from "./define.ts";
import type { Graph, Tensor } from "./graph.ts";

/** A norm that stands alone. Where a linear layer follows, that layer can normalise for itself (`LinearOptions.norm`). */
export interface Norm {
  readonly kind: "rms" | "layer";
  /** Above zero: a row of zeros stays zero. */
  readonly eps: number;
  /** [group] f32, group = width / groups; [width] with `ownGains`. Ones where absent. */
  readonly gain?: Range;
  /** As wide as the gain. */
  readonly bias?: Range;
  /** Added to every gain: 1 for weights that are stored as w of 1 + w (Gemma). */
  readonly offset?: number;
  /** The row is so many equal groups, normalised apart; 1 where absent. */
  readonly groups?: number;
  /** Gain and bias are given for every element of the row, not once for all groups. */
  readonly ownGains?: boolean;
}

/** out: norm(sum); sum: x + scale · delta. */
export interface NormedSum {
  readonly sum: Tensor;
  readonly out: Tensor;
}

/**
 * norm(x), or with `residual` residual + norm(x) (sandwich norms: Gemma 2): [rows, width] f32. With `gather` only the
 * sampled rows of x, and the residual has the extent "samples" too. One dispatch.
 */
export function norm(
  graph: Graph,
  x: Tensor,
  spec: Norm,
  { residual, gather = false }: { residual?: Tensor; gather?: boolean } = {},
): Tensor {
  return dispatchNorm(graph, x, spec, { gather, ...(residual && { residual }) }).out;
}

/** The sum x + scale · delta and its norm, both [rows, width] f32, in one dispatch. */
export function addNorm(
  graph: Graph,
  x: Tensor,
  delta: Tensor,
  spec: Norm,
  { scale = 1 }: { scale?: number } = {},
): NormedSum {
  invariant(delta.width === x.width && delta.extent === x.extent, "what is added has the shape of x");
  const { out, sum } = dispatchNorm(graph, x, spec, { gather: false, add: { delta, scale } });
  invariant(sum, "a norm with a sum emits both");
  return { out, sum };
}

/** `rowSum` over a workgroup of LANES lanes, by subgroups where the tuning has them. */
export function rowSum({ tuning }: Graph): { fragment: string; enables: NonNullable<KernelSource["enables"]> } {
  return tuning.subgroups
    ? { fragment: rowSumSubgroups, enables: ["subgroups"] }
    : { fragment: rowSumMemory, enables: [] };
}

interface Around {
  readonly gather: boolean;
  readonly residual?: Tensor;
  readonly add?: { readonly delta: Tensor; readonly scale: number };
}

const read = (name: string, type: string): Binding => ({ name, access: "read", type });

function dispatchNorm(graph: Graph, x: Tensor, spec: Norm, around: Around): { out: Tensor; sum?: Tensor } {
  const { kind, eps, gain, bias, offset = 0, groups = 1, ownGains = false } = spec;
  const { gather, residual, add } = around;
  const group = x.width / groups;
  invariant(Number.isInteger(group / 4), `a norm of ${groups} groups of a row of ${x.width}`);
  invariant(x.extent !== "one" && eps > 0, "a norm is of rows, and its epsilon is above zero");
  const out = graph.tensor(gather ? "samples" : x.extent, x.width);
  invariant(
    !residual || (residual.width === x.width && residual.extent === out.extent),
    "the residual has the shape of the result",
  );
  const sum = add && graph.tensor(x.extent, x.width);
  const bindings: Binding[] = [read("x", "array<vec4f>")];
  const optional = (present: unknown, name: string, type: string, when: string, otherwise: string): string => {
    if (present) bindings.push(read(name, type));
    return present ? when : otherwise;
  };
  const vectors = "array<vec4f>";
  const reduction = rowSum(graph);
  const fragments = [
    optional(gather, "samples", "array<Sample>", "fn xRow(m: u32) -> u32 { return samples[m].row; }", EVERY_ROW),
    optional(add, "delta", vectors, INPUT_SUM, "fn input(i: u32) -> vec4f { return x[i]; }"),
    optional(gain, "gain", vectors, "fn gainAt(i: u32) -> vec4f { return gain[i] + params.gainOffset; }", NO_GAIN),
    optional(bias, "bias", vectors, "fn biasAt(i: u32) -> vec4f { return bias[i]; }", NO_BIAS),
    optional(residual, "residual", vectors, "fn residualAt(i: u32) -> vec4f { return residual[i]; }", NO_RESIDUAL),
    add ? "fn emitSum(i: u32, v: vec4f) { sum[i] = v; }" : "fn emitSum(i: u32, v: vec4f) {}",
    reduction.fragment,
  ];
  if (sum) bindings.push({ name: "sum", access: "read_write", type: vectors });
  bindings.push({ name: "out", access: "read_write", type: vectors });
  graph.dispatch(
    {
      name: `norm ${kind}`,
      wgsl: normWgsl,
      enables: reduction.enables,
      fragments,
      bindings,
      params: {
        width4: "u32",
        group4: "u32",
        gainStep: "u32",
        invCount: "f32",
        eps: "f32",
        gainOffset: "f32",
        deltaScale: "f32",
      },
      constants: {
        LANES: group <= 512 ? 64 : 256,
        CENTRED: kind === "layer",
        ADD: add !== undefined,
        SAMPLES: out.extent === "samples",
      },
    },
    {
      width4: x.width / 4,
      group4: group / 4,
      gainStep: ownGains ? group / 4 : 0,
      invCount: 1 / group,
      eps,
      gainOffset: offset,
      deltaScale: add?.scale ?? 1,
    },
    {
      x,
      out,
      ...(gather && { samples: graph.batch.samples }),
      ...(add && { delta: add.delta }),
      ...(gain && { gain }),
      ...(bias && { bias }),
      ...(residual && { residual }),
      ...(sum && { sum }),
    },
    [groups, graph.count(out.extent)],
  );
  return { out, ...(sum && { sum }) };
}

const EVERY_ROW = "fn xRow(m: u32) -> u32 { return m; }";
const INPUT_SUM = "fn input(i: u32) -> vec4f { return x[i] + params.deltaScale * delta[i]; }";
const NO_GAIN = "fn gainAt(i: u32) -> vec4f { return vec4f(1.0 + params.gainOffset); }";
const NO_BIAS = "fn biasAt(i: u32) -> vec4f { return vec4f(0.0); }";
const NO_RESIDUAL = "fn residualAt(i: u32) -> vec4f { return vec4f(0.0); }";
