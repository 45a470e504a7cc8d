import { gptFamily, readActivation, readGpt } from "./gpt.ts";
import { byKeyHead, whole } from "./table.ts";

/**
 * Falcon (Almazrouei et al. 2023), both forms: 7B with one key head and one norm for both halves of a layer, 40B and 180B
 * (`new_decoder_architecture`) with a few key heads and a norm for each half.
 */
export const falcon = gptFamily({
  modelTypes: ["falcon"],
  parse(c, modelType) {
    c.only("alibi", [false], "Falcon's own ALiBi is rounded to bf16");
    c.only("apply_residual_connection_post_layernorm", [false], "what is added is to be from before the norm");
    const inner = { field: "ffn_hidden_size", width: (hiddenSize: number) => 4 * hiddenSize };
    const base = readGpt(c, modelType, { contextTokens: 2048, inner });
    const { heads } = base;
    const renewed = c.boolean("new_decoder_architecture", false);
    const oneKey = c.boolean("multi_query", true);
    const kvHeads = c.integer("num_kv_heads", { fallback: heads });
    if (renewed && heads % kvHeads) throw c.error("num_kv_heads", `${kvHeads} does not divide ${heads} heads`);
    const parallel = c.boolean("parallel_attn", true);
    if (renewed && !parallel) throw c.error("parallel_attn", "the new architecture has both halves side by side");
    const norms = c.integer("num_ln_in_parallel_attn", { fallback: renewed ? 2 : 1, max: 2 });
    if (norms === 2 && !renewed) throw c.error("num_ln_in_parallel_attn", "two norms are for the new architecture");
    const biased = c.boolean("bias", false);
    return {
      ...base,
      kvHeads: renewed ? kvHeads : oneKey ? 1 : heads,
      halves: !parallel ? "sequential" : norms === 2 ? "parallel" : "shared",
      normEps: c.positive("layer_norm_epsilon", 1e-5),
      activation: readActivation(c, "activation", "gelu"),
      tied: c.boolean("tie_word_embeddings", true),
      biases: { qkv: biased, out: biased, mlp: biased },
    };
  },
  modules: () => ({ embed: "transformer.word_embeddings", norm: "transformer.ln_f", head: "lm_head" }),
  layer(b, { hiddenSize, innerSize, heads, kvHeads, headDim, halves, biases }, i) {
    const at = `transformer.h.${i}`;
    const attention = `${at}.self_attention`;
    const [first, second] =
      halves === "parallel" ? ["ln_attn", "ln_mlp"] : ["input_layernorm", "post_attention_layernorm"];
    b.norm(`${i}.attention_norm`, hiddenSize, `${at}.${first}`, true);
    const qkv = byKeyHead(`${attention}.query_key_value`, heads, kvHeads, headDim);
    b.matrix(`${i}.qkv`, hiddenSize, qkv, { bias: biases.qkv });
    b.matrix(`${i}.o`, hiddenSize, whole(`${attention}.dense`, hiddenSize), { bias: biases.out });
    if (halves !== "shared") b.norm(`${i}.mlp_norm`, hiddenSize, `${at}.${second}`, true);
    b.matrix(`${i}.up`, hiddenSize, whole(`${at}.mlp.dense_h_to_4h`, innerSize), { bias: biases.mlp });
    b.matrix(`${i}.down`, innerSize, whole(`${at}.mlp.dense_4h_to_h`, hiddenSize), { bias: biases.mlp });
  },
});
