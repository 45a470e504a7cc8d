import { GPT, gptFamily, plainScales } from "./gpt.ts";
import { readHeads, readTokens, requireFours } from "./read.ts";
import { alibiSlopes } from "./rope.ts";
import { byKeyHead, whole } from "./table.ts";

/** Bloom (BigScience 2022): ALiBi in the place of positions, and a norm right after the embedding. */
export const bloom = gptFamily({
  modelTypes: ["bloom"],
  parse(c, modelType) {
    c.only("quantization_config", [], "quantised checkpoints are not read yet; use the original one");
    c.only("apply_residual_connection_post_layernorm", [false], "what is added is to be from before the norm");
    const width = c.absent("n_embed") ? "hidden_size" : "n_embed";
    const hiddenSize = c.integer(width);
    c.only("hidden_size", [hiddenSize], "it is not what n_embed says");
    const { heads, headDim } = readHeads(c, hiddenSize, {
      fields: { heads: c.absent("num_attention_heads") ? "n_head" : "num_attention_heads" },
    });
    c.only("n_head", [heads], "it is not what num_attention_heads says");
    requireFours(c, { [width]: hiddenSize, num_attention_heads: headDim });
    const layers = c.integer(c.absent("n_layer") ? "num_hidden_layers" : "n_layer");
    c.only("num_hidden_layers", [layers], "it is not what n_layer says");
    return {
      ...GPT,
      modelType,
      layers,
      hiddenSize,
      ...readTokens(c),
      // Nothing in a Bloom bounds the context; it was trained on 2048 tokens.
      contextTokens: 2048,
      heads,
      kvHeads: heads,
      headDim,
      innerSize: 4 * hiddenSize,
      slopes: alibiSlopes(heads),
      embedNorm: true,
      normEps: c.positive("layer_norm_epsilon", 1e-5),
      activation: "gelu-tanh",
      tied: c.boolean("tie_word_embeddings", true),
      attentionScales: plainScales(layers, headDim),
    };
  },
  modules: () => ({
    embed: "transformer.word_embeddings",
    embedNorm: "transformer.word_embeddings_layernorm",
    norm: "transformer.ln_f",
    head: "lm_head",
  }),
  layer(b, { hiddenSize, innerSize, heads, headDim }, i) {
    const at = `transformer.h.${i}`;
    const attention = `${at}.self_attention`;
    b.norm(`${i}.attention_norm`, hiddenSize, `${at}.input_layernorm`, true);
    const qkv = byKeyHead(`${attention}.query_key_value`, heads, heads, headDim);
    b.matrix(`${i}.qkv`, hiddenSize, qkv, { bias: true });
    b.matrix(`${i}.o`, hiddenSize, whole(`${attention}.dense`, hiddenSize), { bias: true });
    b.norm(`${i}.mlp_norm`, hiddenSize, `${at}.post_attention_layernorm`, true);
    b.matrix(`${i}.up`, hiddenSize, whole(`${at}.mlp.dense_h_to_4h`, innerSize), { bias: true });
    b.matrix(`${i}.down`, innerSize, whole(`${at}.mlp.dense_4h_to_h`, hiddenSize), { bias: true });
  },
  optionalPrefix: "transformer.",
});
