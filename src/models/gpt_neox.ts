import { gptFamily, readActivation, readGpt } from "./gpt.ts";
import { byKeyHead, whole } from "./table.ts";

/** GPT-NeoX and Pythia (Black et al. 2022): both halves of a layer side by side, a quarter of each head rotates. */
export const gptNeox = gptFamily({
  modelTypes: ["gpt_neox"],
  parse(c, modelType) {
    const base = readGpt(c, modelType, {
      contextTokens: 2048,
      thetaField: "rotary_emb_base",
      partialField: "rotary_pct",
      partial: 0.25,
    });
    const biased = c.boolean("attention_bias", true);
    return {
      ...base,
      halves: c.boolean("use_parallel_residual", true) ? "parallel" : "sequential",
      normEps: c.positive("layer_norm_eps", 1e-5),
      activation: readActivation(c, "hidden_act", "gelu"),
      tied: c.boolean("tie_word_embeddings", false),
      biases: { qkv: biased, out: biased, mlp: true },
    };
  },
  modules: () => ({ embed: "gpt_neox.embed_in", norm: "gpt_neox.final_layer_norm", head: "embed_out" }),
  layer(b, { hiddenSize, innerSize, heads, headDim, biases }, i) {
    const at = `gpt_neox.layers.${i}`;
    b.norm(`${i}.attention_norm`, hiddenSize, `${at}.input_layernorm`, true);
    const qkv = byKeyHead(`${at}.attention.query_key_value`, heads, heads, headDim);
    b.matrix(`${i}.qkv`, hiddenSize, qkv, { bias: biases.qkv });
    b.matrix(`${i}.o`, hiddenSize, whole(`${at}.attention.dense`, hiddenSize), { bias: biases.out });
    b.norm(`${i}.mlp_norm`, hiddenSize, `${at}.post_attention_layernorm`, true);
    b.matrix(`${i}.up`, hiddenSize, whole(`${at}.mlp.dense_h_to_4h`, innerSize), { bias: biases.mlp });
    b.matrix(`${i}.down`, innerSize, whole(`${at}.mlp.dense_4h_to_h`, hiddenSize), { bias: biases.mlp });
  },
});
