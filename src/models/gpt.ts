import { attention } from "../kernels/attention.ts";
import type { Graph, Tensor } from "../kernels/graph.ts";
import { embed, linear, type Activation, type LinearOptions } from "../kernels/linear.ts";
import { norm, type Norm } from "../kernels/norm.ts";
import { learnedPositions } from "../kernels/positions.ts";
import { ropeWrite, type QueryKeyNorm } from "../kernels/rope.ts";
import { parseWhole, type ConfigReader } from "./config.ts";
import { kvCache, type Family, type ModelConfig, type Resident } from "./family.ts";
import { readHeads, readTokens, requireFours } from "./read.ts";
import { readRope, ropeRegimes, ropeSpec, stretchedContext, type RopeConfig, type RopeDefaults } from "./rope.ts";
import { TableBuilder } from "./table.ts";

/**
 * The GPT form (Radford et al. 2019): LayerNorm, any positions, a plain or gated feed-forward, the two halves of a layer one
 * after the other or side by side (GPT-J, Wang and Komatsuzaki 2021). What families of this form differ in is a field
 * here; a family is a file that reads its config and names its modules.
 */
export interface GptConfig extends ModelConfig {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly innerSize: number;
  readonly normEps: number;
  /** LayerNorms have biases as well as gains. */
  readonly normBias: boolean;
  /** "sequential": x + attention, then + mlp. "parallel": both of x; "shared": both of x through one norm. */
  readonly halves: "sequential" | "parallel" | "shared";
  /** Of the feed-forward; gated: its first matrix is gate and up in turn. */
  readonly activation: Activation;
  readonly gated: boolean;
  readonly rope: RopeConfig | null;
  /** Neighbouring elements rotate together. */
  readonly interleaved: boolean;
  /** ALiBi's slopes, one for each query head. */
  readonly slopes: readonly number[] | null;
  /** Rows of the table of learned positions; 0: none. */
  readonly positions: number;
  readonly embedNorm: boolean;
  /** LayerNorm of queries and keys, gains for each head, no bias. */
  readonly qkNorm: boolean;
  readonly window?: number;
  readonly tied: boolean;
  readonly headBias: boolean;
  /** Factor of each layer's scores. */
  readonly attentionScales: readonly number[];
  readonly logitScale: number;
  readonly biases: GptBiases;
}

export interface GptBiases {
  readonly qkv: boolean;
  readonly out: boolean;
  readonly mlp: boolean;
}

/** What most families of this form have. */
export const GPT: Pick<
  GptConfig,
  | "normBias"
  | "halves"
  | "gated"
  | "rope"
  | "interleaved"
  | "slopes"
  | "positions"
  | "embedNorm"
  | "qkNorm"
  | "headBias"
  | "logitScale"
  | "biases"
> = {
  normBias: true,
  halves: "sequential",
  gated: false,
  rope: null,
  interleaved: false,
  slopes: null,
  positions: 0,
  embedNorm: false,
  qkNorm: false,
  headBias: false,
  logitScale: 1,
  biases: { qkv: true, out: true, mlp: true },
};

/** What families that rotate and have configs in Llama's names differ in. */
export interface GptDefaults extends Partial<Omit<RopeDefaults, "contextTokens">> {
  /** Tokens of training where `max_position_embeddings` is not given. */
  readonly contextTokens: number;
  readonly kvHeads?: number;
  /** The field of the feed-forward's width, and the width where that is not given. */
  readonly inner?: { readonly field: string; readonly width: (hiddenSize: number) => number };
}

/** Reads sizes, heads, tokens and rotary positions of such a config; the plain form otherwise. */
export function readGpt(
  c: ConfigReader,
  modelType: string,
  { contextTokens: trained, kvHeads: fewer, inner, ...rotary }: GptDefaults,
): Omit<GptConfig, "normEps" | "activation" | "tied"> {
  c.only("quantization_config", [], "quantised checkpoints are not read yet; use the original one");
  const hiddenSize = c.integer("hidden_size");
  const { heads, kvHeads, headDim } = readHeads(c, hiddenSize, { ...(fewer !== undefined && { kvHeads: fewer }) });
  const innerField = inner?.field ?? "intermediate_size";
  const innerSize = c.integer(innerField, { ...(inner && { fallback: inner.width(hiddenSize) }) });
  requireFours(c, { hidden_size: hiddenSize, [innerField]: innerSize, num_attention_heads: headDim });
  const layers = c.integer("num_hidden_layers");
  const contextTokens = c.integer("max_position_embeddings", { fallback: trained });
  const rope = readRope(c, headDim, { contextTokens, ...rotary });
  return {
    ...GPT,
    modelType,
    layers,
    hiddenSize,
    ...readTokens(c),
    contextTokens: stretchedContext(contextTokens, rope),
    heads,
    kvHeads,
    headDim,
    innerSize,
    rope,
    attentionScales: plainScales(layers, headDim),
  };
}

/** headDim^-½ in every layer. */
export function plainScales(layers: number, headDim: number): number[] {
  return Array.from({ length: layers }, () => headDim ** -0.5);
}

const ACTIVATIONS: Readonly<Record<string, Activation>> = {
  gelu: "gelu-erf",
  gelu_new: "gelu-tanh",
  gelu_fast: "gelu-tanh",
  gelu_pytorch_tanh: "gelu-tanh",
  relu: "relu",
  silu: "silu",
};

/** The activation that a config names, in Hugging Face's names. */
export function readActivation(c: ConfigReader, field: string, fallback: string): Activation {
  return ACTIVATIONS[c.oneOf(field, Object.keys(ACTIVATIONS), fallback)]!;
}

/** The modules outside the layers. */
export interface GptModules {
  readonly embed: string;
  readonly positions?: string;
  readonly embedNorm?: string;
  readonly norm: string;
  readonly head: string;
}

function layerNorm({ config, weights }: Resident<GptConfig>, role: string): Norm {
  const bias = config.normBias ? weights.vector(`${role} bias`) : undefined;
  return { kind: "layer", gain: weights.vector(role), eps: config.normEps, ...(bias && { bias }) };
}

function attend(graph: Graph, model: Resident<GptConfig>, i: number, x: Tensor): Tensor {
  const { config, weights, ropes } = model;
  const cache = kvCache(model);
  const qkv = linear(graph, x, weights.linear(`${i}.qkv`));
  const norms: QueryKeyNorm | undefined = config.qkNorm
    ? {
        kind: "layer",
        ownGains: true,
        query: weights.vector(`${i}.q_norm`),
        key: weights.vector(`${i}.k_norm`),
        eps: config.normEps,
      }
    : undefined;
  const q = ropeWrite(graph, qkv, cache, i, config.heads, config.rope ? ropes[0]! : null, {
    interleaved: config.interleaved,
    ...(norms && { norm: norms }),
  });
  return attention(graph, q, cache, i, {
    scale: config.attentionScales[i]!,
    ...(config.slopes && { slopes: weights.vector("slopes") }),
    ...(config.window !== undefined && { window: config.window }),
  });
}

function mlp(graph: Graph, { config, weights }: Resident<GptConfig>, i: number, x: Tensor, residual: Tensor): Tensor {
  const { activation, gated } = config;
  const act: LinearOptions = gated ? { gate: activation } : { activation };
  const inner = linear(graph, x, weights.linear(`${i}.up`), act);
  return linear(graph, inner, weights.linear(`${i}.down`), { residual });
}

function forward(graph: Graph, model: Resident<GptConfig>): Tensor {
  const { config, weights } = model;
  let x = embed(graph, weights.linear("embed"));
  if (config.positions) x = learnedPositions(graph, x, weights.linear("positions"));
  if (config.embedNorm) x = norm(graph, x, layerNorm(model, "embed_norm"));
  for (let i = 0; i < config.layers; i++) {
    const before = x;
    const normed = norm(graph, x, layerNorm(model, `${i}.attention_norm`));
    x = linear(graph, attend(graph, model, i, normed), weights.linear(`${i}.o`), { residual: x });
    if (config.halves === "shared") x = mlp(graph, model, i, normed, x);
    else {
      const seen = config.halves === "parallel" ? before : x;
      x = mlp(graph, model, i, norm(graph, seen, layerNorm(model, `${i}.mlp_norm`)), x);
    }
  }
  return x;
}

function head(graph: Graph, model: Resident<GptConfig>, hidden: Tensor): Tensor {
  const { config, weights } = model;
  const last = norm(graph, hidden, layerNorm(model, "norm"), { gather: true });
  return linear(graph, last, weights.linear(config.tied ? "embed" : "head"), { scale: config.logitScale });
}

export interface GptForm {
  readonly modelTypes: readonly string[];
  parse(c: ConfigReader, modelType: string): GptConfig;
  modules(config: GptConfig): GptModules;
  /** Adds a layer's roles: `<i>.attention_norm`, `<i>.mlp_norm` unless shared, `<i>.qkv`, `.o`, `.up`, `.down`. */
  layer(b: TableBuilder, config: GptConfig, i: number): void;
  readonly optionalPrefix?: string;
}

/** A family of this form. */
export function gptFamily(form: GptForm): Family<GptConfig> {
  return {
    modelTypes: form.modelTypes,
    parseConfig: (json) => parseWhole(json, (c, modelType) => form.parse(c, modelType)),
    weightTable(config) {
      const { hiddenSize, vocabSize, tied, headBias, positions, embedNorm, normBias, slopes } = config;
      const modules = form.modules(config);
      const b = new TableBuilder();
      b.embedding(hiddenSize, vocabSize, modules.embed, tied ? null : modules.head, headBias);
      if (positions) b.positions(hiddenSize, positions, modules.positions!);
      if (embedNorm) b.norm("embed_norm", hiddenSize, modules.embedNorm!, normBias);
      if (slopes) b.values("slopes", slopes);
      for (let i = 0; i < config.layers; i++) form.layer(b, config, i);
      b.norm("norm", hiddenSize, modules.norm, normBias);
      return b.table;
    },
    cacheSpec: ({ layers, kvHeads, headDim, window }) => ({
      kind: "kv",
      layers,
      heads: kvHeads,
      headDim,
      windows: Array.from({ length: layers }, () => window),
    }),
    ropes: ({ rope }, length) => (rope ? [ropeSpec(rope, length)] : []),
    regimes: ({ rope }, contextTokens) => ropeRegimes(rope ? [rope] : [], contextTokens),
    ...(form.optionalPrefix !== undefined && { optionalPrefix: form.optionalPrefix }),
    dispatches: { layer: 7, other: 1, head: 2 },
    moreDispatches: ({ halves, qkNorm, positions, embedNorm }) => ({
      layer: Number(halves !== "shared") + Number(qkNorm),
      other: Number(positions > 0) + Number(embedNorm),
    }),
    forward,
    head,
  };
}
