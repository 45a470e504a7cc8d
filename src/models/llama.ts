import { attention } from "../kernels/attention.ts";
import type { Graph, Tensor } from "../kernels/graph.ts";
import { embed, linear, type LinearOptions, type RmsNorm } from "../kernels/linear.ts";
import { ropeWrite, type QueryKeyNorm } from "../kernels/rope.ts";
import { parseWhole, type ConfigReader } from "./config.ts";
import { kvCache, type Family, type ModelConfig, type Resident } from "./family.ts";
import { expertsOf, mixture, mixtureTable, type Mixture, type MixtureModules } from "./mixture.ts";
import { readHeads, readTokens, requireFours } from "./read.ts";
import { readRope, ropeRegimes, ropeSpec, stretchedContext, type RopeConfig, type RopeDefaults } from "./rope.ts";
import { inTurn, stacked, TableBuilder, whole } from "./table.ts";

/**
 * The Llama form (Touvron et al. 2023): pre-norm RMSNorm, rotary positions (rotate-half), grouped-query attention, gated
 * feed-forward, tied or separate head. What families of this form differ in is a field here; a derived family is a file of a
 * few lines that sets it.
 */
export interface LlamaConfig extends ModelConfig {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly intermediateSize: number;
  readonly normEps: number;
  /** Added to every gain: 1 where checkpoints hold w of 1 + w (Gemma). */
  readonly normOffset: number;
  readonly gate: "silu" | "gelu-tanh";
  readonly tied: boolean;
  readonly biases: { readonly qkv: boolean; readonly out: boolean; readonly mlp: boolean };
  /** RMSNorm of queries and keys before they rotate: of each head, or of all heads together. */
  readonly qkNorm: "none" | "head" | "row";
  /** Queries, keys and values are cut to ± this, behind the norm (OLMoE). */
  readonly clip?: number;
  readonly ropes: readonly RopeConfig[];
  /** What each layer's attention is. */
  readonly attention: readonly LayerAttention[];
  /** Factors on embeddings, attention scores, what each half of a layer adds, and logits. */
  readonly scales: {
    readonly embed: number;
    readonly attention: number;
    readonly residual: number;
    readonly logits: number;
  };
  readonly softCaps: { readonly attention?: number; readonly logits?: number };
  /** A score a head that takes part in the softmax and has no value (gpt-oss). */
  readonly sinks: boolean;
  /** Experts in the place of the feed-forward, in some layers or all. */
  readonly mixture: Mixture | null;
}

export interface LayerAttention {
  /** Index of its rotary regime; null: nothing rotates (NoPE). */
  readonly rope: number | null;
  /** Keys a row sees, its own among them; all where absent. */
  readonly window?: number;
}

/** What a derived family's configs leave out. */
export interface LlamaDefaults extends Partial<RopeDefaults> {
  readonly tied?: boolean;
  readonly kvHeads?: number;
  readonly headDim?: number;
}

/** Reads what all configs of this form have. */
export function readLlama(c: ConfigReader, modelType: string, defaults: LlamaDefaults = {}): LlamaConfig {
  c.only("quantization_config", [], "quantised checkpoints are not read yet; use the original one");
  c.only("rope_interleaved", [false], "this form rotates halves");
  const hiddenSize = c.integer("hidden_size");
  const { heads, kvHeads, headDim } = readHeads(c, hiddenSize, defaults);
  const intermediateSize = c.integer("intermediate_size");
  requireFours(c, { hidden_size: hiddenSize, intermediate_size: intermediateSize, head_dim: headDim });
  const layers = c.integer("num_hidden_layers");
  const contextTokens = c.integer("max_position_embeddings", { fallback: 2048 });
  const rope = readRope(c, headDim, { contextTokens, ...defaults });
  return {
    modelType,
    layers,
    hiddenSize,
    ...readTokens(c),
    contextTokens: stretchedContext(contextTokens, rope),
    heads,
    kvHeads,
    headDim,
    intermediateSize,
    normEps: c.positive("rms_norm_eps", 1e-6),
    normOffset: 0,
    gate: "silu",
    tied: c.boolean("tie_word_embeddings", defaults.tied ?? false),
    biases: { qkv: false, out: false, mlp: false },
    qkNorm: "none",
    ropes: [rope],
    attention: Array.from({ length: layers }, () => ({ rope: 0 })),
    scales: { embed: 1, attention: headDim ** -0.5, residual: 1, logits: 1 },
    softCaps: {},
    sinks: false,
    mixture: null,
  };
}

/** Refuses a feed-forward that is not silu's. */
export function onlySilu(c: ConfigReader): void {
  c.only("hidden_act", ["silu"], "this form has silu");
}

/** Queries, keys and values in one matrix, as this form publishes them. */
export function attentionTable(b: TableBuilder, config: LlamaConfig, i: number, at: string): void {
  const [q, kv] = [config.heads * config.headDim, config.kvHeads * config.headDim];
  const qkv = stacked([`${at}.q_proj`, q], [`${at}.k_proj`, kv], [`${at}.v_proj`, kv]);
  b.matrix(`${i}.qkv`, config.hiddenSize, qkv, { bias: config.biases.qkv });
  b.matrix(`${i}.o`, q, whole(`${at}.o_proj`, config.hiddenSize), { bias: config.biases.out });
  if (config.sinks) b.vector(`${i}.sinks`, config.heads, `${at}.sinks`);
  if (config.qkNorm === "none") return;
  const row = config.qkNorm === "row";
  b.norm(`${i}.q_norm`, row ? q : config.headDim, `${at}.q_norm`);
  b.norm(`${i}.k_norm`, row ? kv : config.headDim, `${at}.k_norm`);
}

export function mlpTable(
  b: TableBuilder,
  { hiddenSize, intermediateSize, biases }: LlamaConfig,
  i: number,
  at: string,
): void {
  const gateUp = inTurn(`${at}.gate_proj`, `${at}.up_proj`, intermediateSize);
  b.matrix(`${i}.gate_up`, hiddenSize, gateUp, { bias: biases.mlp });
  b.matrix(`${i}.down`, intermediateSize, whole(`${at}.down_proj`, hiddenSize), { bias: biases.mlp });
}

/** A layer as Llama publishes it; `norms` are its norms, role and module. */
export function llamaLayer(
  b: TableBuilder,
  config: LlamaConfig,
  i: number,
  norms: readonly (readonly [role: string, module: string])[] = [
    ["input_norm", "input_layernorm"],
    ["post_norm", "post_attention_layernorm"],
  ],
  feedForward: FeedForwardTable = (at) => {
    mlpTable(b, config, i, `${at}.mlp`);
  },
): void {
  const at = `model.layers.${i}`;
  for (const [role, module] of norms) b.norm(`${i}.${role}`, config.hiddenSize, `${at}.${module}`);
  attentionTable(b, config, i, `${at}.self_attn`);
  feedForward(at);
}

/** Adds a layer's feed-forward; `at` is the layer's module. */
type FeedForwardTable = (at: string) => void;

/** Layers some or all of which have experts in the modules that `modules` names for a layer. */
export function sparseLayer(modules: (config: LlamaConfig, at: string) => MixtureModules): LlamaForm["layer"] {
  return (b, config, i) => {
    llamaLayer(b, config, i, undefined, (at) => {
      const m = config.mixture;
      if (m?.sparse[i]) mixtureTable(b, config.hiddenSize, m, i, modules(config, at));
      else mlpTable(b, config, i, `${at}.mlp`);
    });
  };
}

/** The modules outside the layers. */
export interface OuterModules {
  readonly embed: string;
  readonly norm: string;
  readonly head: string;
}

const OUTER: OuterModules = { embed: "model.embed_tokens", norm: "model.norm", head: "lm_head" };

export const rmsNorm = ({ weights, config }: Resident<LlamaConfig>, role: string): RmsNorm => ({
  gain: weights.vector(role),
  eps: config.normEps,
  offset: config.normOffset,
});

/** Rotates, writes to the cache and attends, as the layer's config says. qkv: [rows, (heads + 2 · kvHeads) · headDim]. */
export function attend(graph: Graph, model: Resident<LlamaConfig>, i: number, qkv: Tensor): Tensor {
  const { config, weights, ropes } = model;
  const cache = kvCache(model);
  const { rope, window } = config.attention[i]!;
  const norm: QueryKeyNorm | undefined =
    config.qkNorm === "none"
      ? undefined
      : {
          kind: "rms",
          over: config.qkNorm,
          query: weights.vector(`${i}.q_norm`),
          key: weights.vector(`${i}.k_norm`),
          eps: config.normEps,
          offset: config.normOffset,
        };
  const q = ropeWrite(graph, qkv, cache, i, config.heads, rope === null ? null : ropes[rope]!, {
    ...(norm && { norm }),
    ...(config.clip !== undefined && { clip: config.clip }),
  });
  const softCap = config.softCaps.attention;
  return attention(graph, q, cache, i, {
    scale: config.scales.attention,
    ...(window !== undefined && { window }),
    ...(softCap !== undefined && { softcap: softCap }),
    ...(config.sinks && { sinks: weights.vector(`${i}.sinks`) }),
  });
}

/** down(act(gate · x) ⊙ (up · x)), with what `last` adds to the last product. */
export function gatedMlp(
  graph: Graph,
  { config, weights }: Resident<LlamaConfig>,
  i: number,
  x: Tensor,
  norm: RmsNorm | undefined,
  last: LinearOptions,
): Tensor {
  const { gate } = config;
  const gated = linear(graph, x, weights.linear(`${i}.gate_up`), { gate, ...(norm && { norm }) });
  return linear(graph, gated, weights.linear(`${i}.down`), last);
}

function forward(graph: Graph, model: Resident<LlamaConfig>): Tensor {
  const { config, weights } = model;
  const scale = config.scales.residual;
  let x = embed(graph, weights.linear("embed"), config.scales.embed);
  for (let i = 0; i < config.layers; i++) {
    const qkv = linear(graph, x, weights.linear(`${i}.qkv`), { norm: rmsNorm(model, `${i}.input_norm`) });
    const mixed = attend(graph, model, i, qkv);
    x = linear(graph, mixed, weights.linear(`${i}.o`), { residual: x, scale });
    const norm = rmsNorm(model, `${i}.post_norm`);
    x = config.mixture?.sparse[i]
      ? mixture(graph, model, config.mixture, i, x, norm)
      : gatedMlp(graph, model, i, x, norm, { residual: x, scale });
  }
  return x;
}

export interface LlamaForm {
  readonly modelTypes: readonly string[];
  readonly parse: (c: ConfigReader, modelType: string) => LlamaConfig;
  readonly layer?: ((b: TableBuilder, config: LlamaConfig, i: number) => void) | undefined;
  readonly outer?: OuterModules;
  readonly forward?: Family<LlamaConfig>["forward"];
  /** Norms that stand alone in a layer: those that nothing linear follows. */
  readonly ownNorms?: number;
}

/** A family of this form. */
export function llamaFamily({ parse, layer = llamaLayer, outer = OUTER, ...form }: LlamaForm): Family<LlamaConfig> {
  return {
    modelTypes: form.modelTypes,
    parseConfig: (json) => parseWhole(json, parse),
    weightTable(config) {
      const b = new TableBuilder();
      b.embedding(config.hiddenSize, config.vocabSize, outer.embed, config.tied ? null : outer.head);
      for (let i = 0; i < config.layers; i++) layer(b, config, i);
      b.norm("norm", config.hiddenSize, outer.norm);
      return b.table;
    },
    cacheSpec: ({ layers, kvHeads, headDim, attention }) => ({
      kind: "kv",
      layers,
      heads: kvHeads,
      headDim,
      windows: attention.map(({ window }) => window),
    }),
    experts: ({ mixture: m }) => m && expertsOf(m),
    ropes: ({ ropes }, length) => ropes.map((rope) => ropeSpec(rope, length)),
    regimes: ({ ropes }, contextTokens) => ropeRegimes(ropes, contextTokens),
    dispatches: { layer: 6 + (form.ownNorms ?? 0), other: 1, head: 1 },
    moreDispatches: ({ qkNorm }) => ({ layer: Number(qkNorm !== "none"), sparse: 2, other: 0 }),
    forward: form.forward ?? forward,
    head(graph, model, hidden) {
      const { config, weights } = model;
      const softCap = config.softCaps.logits;
      return linear(graph, hidden, weights.linear(config.tied ? "embed" : "head"), {
        norm: rmsNorm(model, "norm"),
        gather: true,
        scale: config.scales.logits,
        ...(softCap !== undefined && { softCap }),
      });
    },
  };
}

export const llama = llamaFamily({
  modelTypes: ["llama"],
  parse(c, modelType) {
    onlySilu(c);
    const out = c.boolean("attention_bias", false);
    return { ...readLlama(c, modelType), biases: { qkv: out, out, mlp: c.boolean("mlp_bias", false) } };
  },
});
