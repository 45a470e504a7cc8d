import { rowWords } from "../weights/quant/layout.ts";
import type { Binding, KernelSource } from "./define.ts";
import {
  attachEpilogue,
  epilogueConstants,
  EPILOGUE_PARAMS,
  epilogueParams,
  type Attached,
  type LinearOptions,
} from "./epilogue.ts";
import type { Graph, Tensor } from "./graph.ts";
import type { Linear, LinearPart } from "./layer.ts";
import { blockFragment } from "./weights.ts";

/** A kernel that multiplies with one part of a matrix: what it has beside the weights, the epilogue and the result. */
export interface PartKernel extends Pick<KernelSource, "name" | "wgsl" | "enables"> {
  /** Fragments before the epilogue's, which call nothing of it, and after. */
  readonly before: readonly string[];
  readonly after?: readonly string[];
  /** Values of its own parameters; all are u32, but for those that `types` names. */
  readonly params: Readonly<Record<string, number>>;
  readonly types?: Readonly<Record<string, "u32" | "f32">>;
  readonly constants: Readonly<Record<string, number | boolean>>;
  /** Its input, whose declarations come before the weights. */
  readonly inputs: Readonly<Record<string, { readonly type: string; readonly tensor: Tensor }>>;
  /** What the input is read with. */
  readonly attached?: Attached;
  /** Workgroups for so many rows of the matrix. */
  readonly grid: (rowCount: number) => readonly [number, number, number];
}

/** y = x · Wᵀ and its epilogue, by one dispatch for each part of the matrix: a binding holds no more. */
export function dispatchParts(
  graph: Graph,
  out: Tensor,
  layer: Linear,
  options: LinearOptions,
  kernel: PartKernel,
): void {
  const { name, wgsl, enables, before, after = [], params, types = {}, constants, inputs, attached, grid } = kernel;
  const epilogue = attachEpilogue(layer, options);
  const own = Object.fromEntries(Object.keys(params).map((param) => [param, types[param] ?? "u32"]));
  const read = (binding: string, type: string): Binding => ({ name: binding, access: "read", type });
  const source: KernelSource = {
    name: `${name} ${layer.layout}`,
    wgsl,
    ...(enables && { enables }),
    fragments: [blockFragment(layer.layout), ...before, ...epilogue.fragments, ...after],
    params: { ...own, rowWords: "u32", ...EPILOGUE_PARAMS },
    bindings: [
      ...Object.entries(inputs).map(([input, { type }]) => read(input, type)),
      read("weights", "array<vec4u>"),
      ...(attached?.declared ?? []),
      ...epilogue.declared,
      { name: "out", access: "read_write", type: "array<f32>" },
    ],
    constants: { ...constants, ...epilogueConstants(options), GATHER: Boolean(options.gather) },
  };
  const given = Object.fromEntries(Object.entries(inputs).map(([input, { tensor }]) => [input, tensor]));
  const dispatch = (part: LinearPart): void =>
    graph.dispatch(
      source,
      {
        ...params,
        rowWords: rowWords(layer.layout, layer.inFeatures),
        ...epilogueParams(part, out.width, options),
      },
      { ...given, weights: part.weights, ...attached?.given, ...epilogue.given, out },
      grid(part.rowCount),
    );
  for (const part of layer.parts) dispatch(part);
}
