import { llamaFamily, onlySilu, readLlama } from "./llama.ts";
import { halvesInTurn, whole } from "./table.ts";

/** Phi 3, 3.5 and 4 (Abdin et al. 2024): Llama with fused projections; longer contexts by LongRoPE, of a part of each head. */
export const phi3 = llamaFamily({
  modelTypes: ["phi3"],
  parse(c, modelType) {
    onlySilu(c);
    // Older configs call LongRoPE by other names.
    const base = readLlama(c, modelType, { aliases: { su: "longrope", yarn: "longrope" } });
    c.ignore("original_max_position_embeddings", "interpolate_factor");
    c.only("full_attn_mod", [1], "every layer is to be the same");
    c.only("lm_head_bias", [false], "the head is to have no bias");
    c.only("attention_bias", [false], "projections are to have no bias");
    c.only("mlp_bias", [false], "projections are to have no bias");
    c.only("embd_layer", [], "only text is read");
    const window = c.absent("sliding_window") ? undefined : c.integer("sliding_window");
    return { ...base, attention: base.attention.map((a) => ({ ...a, ...(window && { window }) })) };
  },
  layer(b, { hiddenSize, intermediateSize, heads, kvHeads, headDim }, i) {
    const at = `model.layers.${i}`;
    b.norm(`${i}.input_norm`, hiddenSize, `${at}.input_layernorm`);
    b.matrix(`${i}.qkv`, hiddenSize, whole(`${at}.self_attn.qkv_proj`, (heads + 2 * kvHeads) * headDim));
    b.matrix(`${i}.o`, heads * headDim, whole(`${at}.self_attn.o_proj`, hiddenSize));
    b.norm(`${i}.post_norm`, hiddenSize, `${at}.post_attention_layernorm`);
    b.matrix(`${i}.gate_up`, hiddenSize, halvesInTurn(`${at}.mlp.gate_up_proj`, intermediateSize));
    b.matrix(`${i}.down`, intermediateSize, whole(`${at}.mlp.down_proj`, hiddenSize));
  },
});
