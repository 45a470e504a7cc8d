import { gptFamily, readGpt } from "./gpt.ts";
import { onlySilu } from "./llama.ts";
import { llamaNamedLayer } from "./stablelm.ts";

/** Command R and Aya (Cohere 2024): LayerNorm without biases, one for both halves; neighbours rotate together; scaled logits. */
export const cohere = gptFamily({
  modelTypes: ["cohere"],
  parse(c, modelType) {
    onlySilu(c);
    const biased = c.boolean("attention_bias", false);
    return {
      ...readGpt(c, modelType, { contextTokens: 8192 }),
      interleaved: true,
      halves: "shared",
      normBias: false,
      qkNorm: c.boolean("use_qk_norm", false),
      normEps: c.positive("layer_norm_eps", 1e-5),
      activation: "silu",
      gated: true,
      tied: c.boolean("tie_word_embeddings", true),
      logitScale: c.positive("logit_scale", 0.0625),
      biases: { qkv: biased, out: biased, mlp: false },
    };
  },
  modules: () => ({ embed: "model.embed_tokens", norm: "model.norm", head: "lm_head" }),
  layer(b, config, i) {
    llamaNamedLayer(b, config, i);
    if (!config.qkNorm) return;
    const { heads, kvHeads, headDim } = config;
    b.norm(`${i}.q_norm`, [heads, headDim], `model.layers.${i}.self_attn.q_norm`);
    b.norm(`${i}.k_norm`, [kvHeads, headDim], `model.layers.${i}.self_attn.k_norm`);
  },
});
