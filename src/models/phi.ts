import type { ConfigReader } from "./config.ts";
import { GPT, gptFamily, plainScales, readActivation, readGpt, type GptConfig } from "./gpt.ts";
import { readHeads, readTokens, requireFours } from "./read.ts";
import { stacked, whole } from "./table.ts";

/** What both published forms of Phi 1, 1.5 and 2 share, apart from how sizes and positions are named. */
const shared = (c: ConfigReader): Pick<GptConfig, "halves" | "tied" | "headBias"> => ({
  halves: "shared",
  tied: c.boolean("tie_word_embeddings", false),
  headBias: true,
});

/** Phi 1, 1.5 and 2 (Gunasekar et al. 2023): GPT-J's layer with biases everywhere, and halves that rotate. */
export const phi = gptFamily({
  modelTypes: ["phi"],
  parse(c, modelType) {
    c.only("qk_layernorm", [false], "norms of queries and keys with biases are not read");
    return {
      ...readGpt(c, modelType, { contextTokens: 2048, partial: 0.5 }),
      ...shared(c),
      normEps: c.positive("layer_norm_eps", 1e-5),
      activation: readActivation(c, "hidden_act", "gelu_new"),
    };
  },
  modules: () => ({ embed: "model.embed_tokens", norm: "model.final_layernorm", head: "lm_head" }),
  layer(b, { hiddenSize, innerSize, heads, kvHeads, headDim }, i) {
    const at = `model.layers.${i}`;
    const [q, kv] = [heads * headDim, kvHeads * headDim];
    const attention = `${at}.self_attn`;
    const qkv = stacked([`${attention}.q_proj`, q], [`${attention}.k_proj`, kv], [`${attention}.v_proj`, kv]);
    b.norm(`${i}.attention_norm`, hiddenSize, `${at}.input_layernorm`, true);
    b.matrix(`${i}.qkv`, hiddenSize, qkv, { bias: true });
    b.matrix(`${i}.o`, q, whole(`${attention}.dense`, hiddenSize), { bias: true });
    b.matrix(`${i}.up`, hiddenSize, whole(`${at}.mlp.fc1`, innerSize), { bias: true });
    b.matrix(`${i}.down`, innerSize, whole(`${at}.mlp.fc2`, hiddenSize), { bias: true });
  },
});

/** The same models as Microsoft first published them: other names, and queries, keys and values in one matrix. */
export const phiMsft = gptFamily({
  modelTypes: ["phi-msft"],
  parse(c, modelType) {
    c.only("quantization_config", [], "quantised checkpoints are not read yet; use the original one");
    const hiddenSize = c.integer("n_embd");
    const { heads, kvHeads, headDim } = readHeads(c, hiddenSize, { fields: { heads: "n_head", kvHeads: "n_head_kv" } });
    const innerSize = c.integer("n_inner", { fallback: 4 * hiddenSize });
    const dim = c.integer("rotary_dim", { fallback: 32, max: headDim });
    requireFours(c, { n_embd: hiddenSize, n_inner: innerSize, n_head: headDim, rotary_dim: dim });
    c.only("img_processor", [], "only text is read");
    const layers = c.integer("n_layer");
    return {
      ...GPT,
      ...shared(c),
      modelType,
      layers,
      hiddenSize,
      ...readTokens(c),
      heads,
      kvHeads,
      headDim,
      innerSize,
      rope: { theta: 10000, dim, scaling: { type: "default" } },
      contextTokens: c.integer("n_positions", { fallback: 2048 }),
      normEps: c.positive("layer_norm_epsilon", 1e-5),
      activation: readActivation(c, "activation_function", "gelu_new"),
      attentionScales: plainScales(layers, headDim),
    };
  },
  modules: () => ({ embed: "transformer.embd.wte", norm: "lm_head.ln", head: "lm_head.linear" }),
  layer(b, { hiddenSize, innerSize, heads, kvHeads, headDim }, i) {
    const at = `transformer.h.${i}`;
    b.norm(`${i}.attention_norm`, hiddenSize, `${at}.ln`, true);
    b.matrix(`${i}.qkv`, hiddenSize, whole(`${at}.mixer.Wqkv`, (heads + 2 * kvHeads) * headDim), { bias: true });
    b.matrix(`${i}.o`, heads * headDim, whole(`${at}.mixer.out_proj`, hiddenSize), { bias: true });
    b.matrix(`${i}.up`, hiddenSize, whole(`${at}.mlp.fc1`, innerSize), { bias: true });
    b.matrix(`${i}.down`, innerSize, whole(`${at}.mlp.fc2`, hiddenSize), { bias: true });
  },
});
