import type { ConfigReader } from "./config.ts";
import { gptFamily, readGpt, type GptConfig, type GptDefaults } from "./gpt.ts";
import { onlySilu } from "./llama.ts";
import { inTurn, stacked, whole, type TableBuilder } from "./table.ts";

/** Llama's layer with LayerNorm in the place of RMSNorm. */
function layerNormLlama(
  c: ConfigReader,
  modelType: string,
  epsField: string,
  defaults: Partial<GptDefaults>,
): GptConfig {
  onlySilu(c);
  return {
    ...readGpt(c, modelType, { contextTokens: 4096, ...defaults }),
    normEps: c.positive(epsField, 1e-5),
    activation: "silu",
    gated: true,
    tied: c.boolean("tie_word_embeddings", false),
    biases: { qkv: false, out: false, mlp: false },
  };
}

/** A layer in Llama's names; a norm for each half unless they share one. */
export function llamaNamedLayer(b: TableBuilder, config: GptConfig, i: number): void {
  const { hiddenSize, innerSize, heads, kvHeads, headDim, biases, normBias } = config;
  const at = `model.layers.${i}`;
  const [q, kv] = [heads * headDim, kvHeads * headDim];
  const attention = `${at}.self_attn`;
  const qkv = stacked([`${attention}.q_proj`, q], [`${attention}.k_proj`, kv], [`${attention}.v_proj`, kv]);
  b.norm(`${i}.attention_norm`, hiddenSize, `${at}.input_layernorm`, normBias);
  b.matrix(`${i}.qkv`, hiddenSize, qkv, { bias: biases.qkv });
  b.matrix(`${i}.o`, q, whole(`${attention}.o_proj`, hiddenSize), { bias: biases.out });
  if (config.halves !== "shared") b.norm(`${i}.mlp_norm`, hiddenSize, `${at}.post_attention_layernorm`, normBias);
  b.matrix(`${i}.up`, hiddenSize, inTurn(`${at}.mlp.gate_proj`, `${at}.mlp.up_proj`, innerSize));
  b.matrix(`${i}.down`, innerSize, whole(`${at}.mlp.down_proj`, hiddenSize));
}

const modules = (): { embed: string; norm: string; head: string } => ({
  embed: "model.embed_tokens",
  norm: "model.norm",
  head: "lm_head",
});

/** StableLM 3B and 2 (Stability AI 2023): LayerNorm, a quarter of each head rotates. */
export const stablelm = gptFamily({
  modelTypes: ["stablelm"],
  parse(c, modelType) {
    c.only("qk_layernorm", [false], "norms of queries and keys head by head are not read");
    const base = layerNormLlama(c, modelType, "layer_norm_eps", { partial: 0.25 });
    return {
      ...base,
      halves: c.boolean("use_parallel_residual", false) ? "shared" : "sequential",
      biases: { qkv: c.boolean("use_qkv_bias", false), out: false, mlp: false },
    };
  },
  modules,
  layer: llamaNamedLayer,
});

/** Orion 14B (2024): the same, and whole heads rotate. Its LayerNorm's epsilon goes by RMSNorm's name. */
export const orion = gptFamily({
  modelTypes: ["orion"],
  parse: (c, modelType) => layerNormLlama(c, modelType, "rms_norm_eps", {}),
  modules,
  layer: llamaNamedLayer,
});
