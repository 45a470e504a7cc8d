import { llamaFamily, onlySilu, readLlama } from "./llama.ts";
import { qwenWindows } from "./qwen2.ts";

/** Qwen 3: Llama with an RMSNorm of every query and key head, and heads whose size is a field of its own. */
export const qwen3 = llamaFamily({
  modelTypes: ["qwen3"],
  parse(c, modelType) {
    onlySilu(c);
    const base = readLlama(c, modelType, { headDim: 128 });
    const biased = c.boolean("attention_bias", false);
    return {
      ...base,
      qkNorm: "head",
      biases: { qkv: biased, out: biased, mlp: false },
      attention: qwenWindows(c, base),
    };
  },
});
