import { gptFamily, readActivation, readGpt } from "./gpt.ts";
import { stacked, whole } from "./table.ts";

/** StarCoder 2 (Lozhkov et al. 2024): LayerNorm, rotary positions, few key heads, a window, a plain feed-forward. */
export const starcoder2 = gptFamily({
  modelTypes: ["starcoder2"],
  parse(c, modelType) {
    c.only("norm_type", ["layer_norm"], "norms are to be LayerNorm");
    c.only("mlp_type", ["default"], "the feed-forward is to be plain");
    c.only("scale_attn_weights", [true], "scores are to be scaled");
    const base = readGpt(c, modelType, { contextTokens: 4096, kvHeads: 2 });
    const normEps = c.positive("norm_epsilon", 1e-5);
    c.only("layer_norm_epsilon", [normEps], "it is not what norm_epsilon says");
    const activation = readActivation(c, "hidden_act", "gelu_pytorch_tanh");
    c.ignore("activation_function"); // left from StarCoder; transformers reads hidden_act
    const biased = c.boolean("use_bias", true);
    return {
      ...base,
      normEps,
      activation,
      tied: c.boolean("tie_word_embeddings", true),
      biases: { qkv: biased, out: biased, mlp: biased },
      ...(!c.absent("sliding_window") && { window: c.integer("sliding_window") }),
    };
  },
  modules: () => ({ embed: "model.embed_tokens", norm: "model.norm", head: "lm_head" }),
  layer(b, { hiddenSize, innerSize, heads, kvHeads, headDim, biases }, i) {
    const at = `model.layers.${i}`;
    const [q, kv] = [heads * headDim, kvHeads * headDim];
    const attention = `${at}.self_attn`;
    const qkv = stacked([`${attention}.q_proj`, q], [`${attention}.k_proj`, kv], [`${attention}.v_proj`, kv]);
    b.norm(`${i}.attention_norm`, hiddenSize, `${at}.input_layernorm`, true);
    b.matrix(`${i}.qkv`, hiddenSize, qkv, { bias: biases.qkv });
    b.matrix(`${i}.o`, q, whole(`${attention}.o_proj`, hiddenSize), { bias: biases.out });
    b.norm(`${i}.mlp_norm`, hiddenSize, `${at}.post_attention_layernorm`, true);
    b.matrix(`${i}.up`, hiddenSize, whole(`${at}.mlp.c_fc`, innerSize), { bias: biases.mlp });
    b.matrix(`${i}.down`, innerSize, whole(`${at}.mlp.c_proj`, hiddenSize), { bias: biases.mlp });
  },
});
