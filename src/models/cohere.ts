import { GPT, gptFamily, plainScales } from "./gpt.ts";
import { onlySilu } from "./llama.ts";
import { readHeads, readTokens, requireFours } from "./read.ts";
import { readRope, stretchedContext } from "./rope.ts";
import { llamaNamedLayer } from "./stablelm.ts";

/** Command R and Aya (Cohere 2024): LayerNorm without biases, one for both halves; neighbours rotate together; scaled logits. */
export const cohere = gptFamily({
  modelTypes: ["cohere"],
  parse(c, modelType) {
    c.only("quantization_config", [], "quantised checkpoints are not read yet; use the original one");
    onlySilu(c);
    const hiddenSize = c.integer("hidden_size");
    const { heads, kvHeads, headDim } = readHeads(c, hiddenSize);
    const innerSize = c.integer("intermediate_size");
    requireFours(c, { hidden_size: hiddenSize, intermediate_size: innerSize, num_attention_heads: headDim });
    const layers = c.integer("num_hidden_layers");
    const contextTokens = c.integer("max_position_embeddings", { fallback: 8192 });
    const rope = readRope(c, headDim, { contextTokens });
    const biased = c.boolean("attention_bias", false);
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
      interleaved: true,
      halves: "shared",
      normBias: false,
      qkNorm: c.boolean("use_qk_norm", false),
      normEps: c.positive("layer_norm_eps", 1e-5),
      activation: "silu",
      gated: true,
      tied: c.boolean("tie_word_embeddings", true),
      attentionScales: plainScales(layers, headDim),
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
