import { ConfigError } from "../base/errors.ts";
import { attention } from "../kernels/attention.ts";
import { embed, linear, type RmsNorm } from "../kernels/linear.ts";
import { ropeWrite } from "../kernels/rope.ts";
import { ConfigReader } from "./config.ts";
import type { Family, LinearSpec, ModelConfig, Resident, TensorPlacement, VectorSpec, WeightTable } from "./family.ts";
import { readRope, ropeSpec, type RopeConfig } from "./rope.ts";

/**
 * The Llama form (Touvron et al. 2023): pre-norm RMSNorm, rotary positions (rotate-half), grouped-query attention,
 * SwiGLU, tied or separate head, optional biases.
 */
export interface LlamaConfig extends ModelConfig {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly intermediateSize: number;
  readonly normEps: number;
  readonly attentionBias: boolean;
  readonly mlpBias: boolean;
  readonly tied: boolean;
  readonly rope: RopeConfig;
}

function parseConfig(json: Readonly<Record<string, unknown>>): LlamaConfig {
  const c = new ConfigReader(json);
  c.only("hidden_act", ["silu"], "the Llama form has silu");
  c.only("quantization_config", [], "quantised checkpoints are not read yet; use the original one");
  const hiddenSize = c.integer("hidden_size");
  const heads = c.integer("num_attention_heads");
  const kvHeads = c.integer("num_key_value_heads", { fallback: heads });
  const vocabSize = c.integer("vocab_size");
  const intermediateSize = c.integer("intermediate_size");
  if (heads % kvHeads) throw new ConfigError("num_key_value_heads", `${kvHeads} does not divide ${heads} heads`);
  const headDim = c.integer("head_dim", { fallback: hiddenSize / heads, max: 512 });
  // Kernels read four columns at a time.
  for (const [field, n] of Object.entries({
    hidden_size: hiddenSize,
    intermediate_size: intermediateSize,
    head_dim: headDim,
  })) {
    if (n % 4) throw new ConfigError(field, `${n} is not a multiple of 4`);
  }
  return {
    modelType: "llama",
    layers: c.integer("num_hidden_layers"),
    hiddenSize,
    vocabSize,
    contextTokens: c.integer("max_position_embeddings", { fallback: 2048 }),
    bosId: c.tokenIds("bos_token_id", vocabSize)[0] ?? null,
    eosIds: c.tokenIds("eos_token_id", vocabSize),
    heads,
    kvHeads,
    headDim,
    intermediateSize,
    normEps: c.positive("rms_norm_eps", 1e-6),
    attentionBias: c.boolean("attention_bias", false),
    mlpBias: c.boolean("mlp_bias", false),
    tied: c.boolean("tie_word_embeddings", false),
    rope: readRope(c),
  };
}

function weightTable(config: LlamaConfig): WeightTable {
  const { hiddenSize, heads, kvHeads, headDim, intermediateSize, vocabSize } = config;
  const table = new Map<string, LinearSpec | VectorSpec>();
  const vector = (role: string, tensor: string): void => {
    table.set(role, { kind: "vector", width: hiddenSize, tensor: `${tensor}.weight` });
  };
  const matrix = (role: string, inFeatures: number, parts: TensorPlacement[], bias: boolean): void => {
    const suffixed = (suffix: string): TensorPlacement[] => parts.map((p) => ({ ...p, tensor: p.tensor + suffix }));
    const outFeatures = parts.reduce((n, p) => n + p.rows, 0);
    table.set(role, {
      kind: "linear",
      outFeatures,
      inFeatures,
      tensors: suffixed(".weight"),
      ...(bias && { bias: suffixed(".bias") }),
    });
  };
  const whole = (tensor: string, rows: number): TensorPlacement[] => [{ tensor, rows, firstRow: 0, rowStep: 1 }];

  table.set("embed", {
    kind: "linear",
    outFeatures: vocabSize,
    inFeatures: hiddenSize,
    tensors: whole("model.embed_tokens.weight", vocabSize),
    gatherOnly: !config.tied,
    sensitive: true,
  });
  const q = heads * headDim;
  const kv = kvHeads * headDim;
  for (let i = 0; i < config.layers; i++) {
    const at = `model.layers.${i}`;
    vector(`${i}.input_norm`, `${at}.input_layernorm`);
    matrix(
      `${i}.qkv`,
      hiddenSize,
      [
        { tensor: `${at}.self_attn.q_proj`, rows: q, firstRow: 0, rowStep: 1 },
        { tensor: `${at}.self_attn.k_proj`, rows: kv, firstRow: q, rowStep: 1 },
        { tensor: `${at}.self_attn.v_proj`, rows: kv, firstRow: q + kv, rowStep: 1 },
      ],
      config.attentionBias,
    );
    matrix(`${i}.o`, q, whole(`${at}.self_attn.o_proj`, hiddenSize), config.attentionBias);
    vector(`${i}.post_norm`, `${at}.post_attention_layernorm`);
    // Gate and up in turn, so that one lane has both and the activation costs no dispatch.
    matrix(
      `${i}.gate_up`,
      hiddenSize,
      [
        { tensor: `${at}.mlp.gate_proj`, rows: intermediateSize, firstRow: 0, rowStep: 2 },
        { tensor: `${at}.mlp.up_proj`, rows: intermediateSize, firstRow: 1, rowStep: 2 },
      ],
      config.mlpBias,
    );
    matrix(`${i}.down`, intermediateSize, whole(`${at}.mlp.down_proj`, hiddenSize), config.mlpBias);
  }
  vector("norm", "model.norm");
  if (!config.tied) {
    table.set("head", {
      kind: "linear",
      outFeatures: vocabSize,
      inFeatures: hiddenSize,
      tensors: whole("lm_head.weight", vocabSize),
      sensitive: true,
    });
  }
  return table;
}

const rmsNorm = ({ weights, config }: Resident<LlamaConfig>, role: string): RmsNorm => ({
  gain: weights.vector(role),
  eps: config.normEps,
});

export const llama: Family<LlamaConfig> = {
  modelTypes: ["llama"],
  parseConfig,
  weightTable,
  cacheSpec: ({ layers, kvHeads, headDim }) => ({ kind: "kv", layers, heads: kvHeads, headDim }),
  rope: ({ rope, headDim }) => ropeSpec(rope, headDim),
  dispatches: { layer: 6, other: 1 },

  forward(graph, model) {
    const { config, weights, cache, rope } = model;
    const scale = config.headDim ** -0.5;
    let x = embed(graph, weights.linear("embed"));
    for (let i = 0; i < config.layers; i++) {
      const qkv = linear(graph, x, weights.linear(`${i}.qkv`), { norm: rmsNorm(model, `${i}.input_norm`) });
      const q = ropeWrite(graph, qkv, cache, i, config.heads, rope);
      const mixed = attention(graph, q, cache, i, { scale });
      x = linear(graph, mixed, weights.linear(`${i}.o`), { residual: x });
      const gated = linear(graph, x, weights.linear(`${i}.gate_up`), {
        norm: rmsNorm(model, `${i}.post_norm`),
        swiglu: true,
      });
      x = linear(graph, gated, weights.linear(`${i}.down`), { residual: x });
    }
    return x;
  },

  head(graph, model, hidden) {
    const layer = model.weights.linear(model.config.tied ? "embed" : "head");
    return linear(graph, hidden, layer, { norm: rmsNorm(model, "norm"), gather: true });
  },
};
