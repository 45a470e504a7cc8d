import { GPT, gptFamily, plainScales, readActivation } from "./gpt.ts";
import { readHeads, readTokens, requireFours } from "./read.ts";
import { byKeyHead, whole } from "./table.ts";

/** SantaCoder and StarCoder (Li et al. 2023): GPT-2 with one key head for all queries (Shazeer 2019). */
export const gptBigcode = gptFamily({
  modelTypes: ["gpt_bigcode"],
  parse(c, modelType) {
    c.only("quantization_config", [], "quantised checkpoints are not read yet; use the original one");
    c.only("scale_attn_weights", [true], "scores are to be scaled");
    const hiddenSize = c.integer("n_embd");
    const { heads, headDim } = readHeads(c, hiddenSize, { fields: { heads: "n_head" } });
    const innerSize = c.integer("n_inner", { fallback: 4 * hiddenSize });
    requireFours(c, { n_embd: hiddenSize, n_inner: innerSize, n_head: headDim });
    const layers = c.integer("n_layer");
    const positions = c.integer("n_positions", { fallback: 1024 });
    c.ignore("n_ctx");
    return {
      ...GPT,
      modelType,
      layers,
      hiddenSize,
      ...readTokens(c),
      contextTokens: positions,
      heads,
      kvHeads: c.boolean("multi_query", true) ? 1 : heads,
      headDim,
      innerSize,
      positions,
      normEps: c.positive("layer_norm_epsilon", 1e-5),
      activation: readActivation(c, "activation_function", "gelu_pytorch_tanh"),
      tied: c.boolean("tie_word_embeddings", true),
      attentionScales: plainScales(layers, headDim),
    };
  },
  modules: () => ({
    embed: "transformer.wte",
    positions: "transformer.wpe",
    norm: "transformer.ln_f",
    head: "lm_head",
  }),
  layer(b, { hiddenSize, innerSize, heads, kvHeads, headDim }, i) {
    const at = `transformer.h.${i}`;
    b.norm(`${i}.attention_norm`, hiddenSize, `${at}.ln_1`, true);
    b.matrix(`${i}.qkv`, hiddenSize, byKeyHead(`${at}.attn.c_attn`, heads, kvHeads, headDim), { bias: true });
    b.matrix(`${i}.o`, hiddenSize, whole(`${at}.attn.c_proj`, hiddenSize), { bias: true });
    b.norm(`${i}.mlp_norm`, hiddenSize, `${at}.ln_2`, true);
    b.matrix(`${i}.up`, hiddenSize, whole(`${at}.mlp.c_fc`, innerSize), { bias: true });
    b.matrix(`${i}.down`, innerSize, whole(`${at}.mlp.c_proj`, hiddenSize), { bias: true });
  },
});
