import { llamaFamily, onlySilu, readLlama } from "./llama.ts";

/** InternLM (2023): Llama with biases on all four projections of the attention, by a field of its own. */
export const internlm = llamaFamily({
  modelTypes: ["internlm"],
  parse(c, modelType) {
    onlySilu(c);
    const out = c.boolean("bias", true);
    return { ...readLlama(c, modelType), biases: { qkv: out, out, mlp: false } };
  },
});
