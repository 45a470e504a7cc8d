import { GPT, gptFamily, plainScales, readActivation } from "./gpt.ts";
import { readHeads, readTokens, requireFours } from "./read.ts";
import { stacked, whole } from "./table.ts";

/** GPT-J (Wang and Komatsuzaki 2021): one norm for both halves of a layer, and neighbours that rotate together. */
export const gptj = gptFamily({
  modelTypes: ["gptj"],
  parse(c, modelType) {
    c.only("quantization_config", [], "quantised checkpoints are not read yet; use the original one");
    c.only("scale_attn_weights", [true], "scores are to be scaled");
    c.only("rotary", [true], "positions are to rotate");
    const scaling = c.nested("rope_scaling");
    scaling?.only("rope_type", ["default", "gptj"], "frequencies are to be GPT-J's own");
    scaling?.finish();
    const hiddenSize = c.integer("n_embd");
    const { heads, headDim } = readHeads(c, hiddenSize, { fields: { heads: "n_head" } });
    const innerSize = c.integer("n_inner", { fallback: 4 * hiddenSize });
    const dim = c.integer("rotary_dim", { fallback: 64, max: headDim });
    requireFours(c, { n_embd: hiddenSize, n_inner: innerSize, n_head: headDim, rotary_dim: dim });
    const layers = c.integer("n_layer");
    return {
      ...GPT,
      modelType,
      layers,
      hiddenSize,
      ...readTokens(c),
      contextTokens: c.integer("n_positions", { fallback: 2048 }),
      heads,
      kvHeads: heads,
      headDim,
      innerSize,
      rope: { theta: 10000, dim, scaling: { type: "default" } },
      interleaved: true,
      halves: "shared",
      normEps: c.positive("layer_norm_epsilon", 1e-5),
      activation: readActivation(c, "activation_function", "gelu_new"),
      tied: c.boolean("tie_word_embeddings", false),
      headBias: true,
      attentionScales: plainScales(layers, headDim),
      biases: { qkv: false, out: false, mlp: true },
    };
  },
  modules: () => ({ embed: "transformer.wte", norm: "transformer.ln_f", head: "lm_head" }),
  layer(b, { hiddenSize, innerSize, biases }, i) {
    const at = `transformer.h.${i}`;
    const projections = ["q_proj", "k_proj", "v_proj"].map((name) => [`${at}.attn.${name}`, hiddenSize] as const);
    b.norm(`${i}.attention_norm`, hiddenSize, `${at}.ln_1`, true);
    b.matrix(`${i}.qkv`, hiddenSize, stacked(...projections));
    b.matrix(`${i}.o`, hiddenSize, whole(`${at}.attn.out_proj`, hiddenSize));
    b.matrix(`${i}.up`, hiddenSize, whole(`${at}.mlp.fc_in`, innerSize), { bias: biases.mlp });
    b.matrix(`${i}.down`, innerSize, whole(`${at}.mlp.fc_out`, hiddenSize), { bias: biases.mlp });
  },
});
