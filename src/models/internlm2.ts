import { llamaFamily, onlySilu, readLlama } from "./llama.ts";
import { byKeyHead, inTurn, whole } from "./table.ts";

/** InternLM 2 and 2.5 (Cai et al. 2024): Llama under other names, with queries, keys and values fused head by head. */
export const internlm2 = llamaFamily({
  modelTypes: ["internlm2"],
  parse(c, modelType) {
    onlySilu(c);
    c.only("bias", [false], "projections are to have no bias");
    return readLlama(c, modelType, { theta: 10000 });
  },
  outer: { embed: "model.tok_embeddings", norm: "model.norm", head: "output" },
  layer(b, { hiddenSize, intermediateSize, heads, kvHeads, headDim }, i) {
    const at = `model.layers.${i}`;
    b.norm(`${i}.input_norm`, hiddenSize, `${at}.attention_norm`);
    b.matrix(`${i}.qkv`, hiddenSize, byKeyHead(`${at}.attention.wqkv`, heads, kvHeads, headDim));
    b.matrix(`${i}.o`, heads * headDim, whole(`${at}.attention.wo`, hiddenSize));
    b.norm(`${i}.post_norm`, hiddenSize, `${at}.ffn_norm`);
    b.matrix(`${i}.gate_up`, hiddenSize, inTurn(`${at}.feed_forward.w1`, `${at}.feed_forward.w3`, intermediateSize));
    b.matrix(`${i}.down`, intermediateSize, whole(`${at}.feed_forward.w2`, hiddenSize));
  },
});
