import { GPT, gptFamily, readActivation } from "./gpt.ts";
import { readHeads, readTokens, requireFours } from "./read.ts";
import { whole } from "./table.ts";

/** GPT-2 (Radford et al. 2019): learned positions, and matrices published as [in, out]. */
export const gpt2 = gptFamily({
  modelTypes: ["gpt2"],
  parse(c, modelType) {
    c.only("quantization_config", [], "quantised checkpoints are not read yet; use the original one");
    const hiddenSize = c.integer("n_embd");
    const { heads, kvHeads, headDim } = readHeads(c, hiddenSize, { fields: { heads: "n_head" } });
    if (kvHeads !== heads) throw c.error("num_key_value_heads", "every query head is to have keys of its own");
    const innerSize = c.integer("n_inner", { fallback: 4 * hiddenSize });
    requireFours(c, { n_embd: hiddenSize, n_inner: innerSize, n_head: headDim });
    const layers = c.integer("n_layer");
    const positions = c.integer("n_positions", { fallback: 1024 });
    c.ignore("n_ctx");
    // Stanford's Mistral divides the scores of layer i by i + 1 as well.
    const byLayer = c.boolean("scale_attn_by_inverse_layer_idx", false);
    const scale = c.boolean("scale_attn_weights", true) ? headDim ** -0.5 : 1;
    return {
      ...GPT,
      modelType,
      layers,
      hiddenSize,
      ...readTokens(c),
      contextTokens: positions,
      heads,
      kvHeads,
      headDim,
      innerSize,
      positions,
      normEps: c.positive("layer_norm_epsilon", 1e-5),
      activation: readActivation(c, "activation_function", "gelu_new"),
      tied: c.boolean("tie_word_embeddings", true),
      attentionScales: Array.from({ length: layers }, (_, i) => scale / (byLayer ? i + 1 : 1)),
    };
  },
  modules: () => ({
    embed: "transformer.wte",
    positions: "transformer.wpe",
    norm: "transformer.ln_f",
    head: "lm_head",
  }),
  layer(b, { hiddenSize, innerSize }, i) {
    const at = `transformer.h.${i}`;
    const conv1d = { bias: true, transposed: true };
    b.norm(`${i}.attention_norm`, hiddenSize, `${at}.ln_1`, true);
    b.matrix(`${i}.qkv`, hiddenSize, whole(`${at}.attn.c_attn`, 3 * hiddenSize), conv1d);
    b.matrix(`${i}.o`, hiddenSize, whole(`${at}.attn.c_proj`, hiddenSize), conv1d);
    b.norm(`${i}.mlp_norm`, hiddenSize, `${at}.ln_2`, true);
    b.matrix(`${i}.up`, hiddenSize, whole(`${at}.mlp.c_fc`, innerSize), conv1d);
    b.matrix(`${i}.down`, innerSize, whole(`${at}.mlp.c_proj`, hiddenSize), conv1d);
  },
  optionalPrefix: "transformer.",
});
