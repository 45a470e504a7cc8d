import { llamaFamily, onlySilu, readLlama, sparseLayer } from "./llama.ts";
import { expertModules, qwenMixture } from "./qwen2_moe.ts";

/** Qwen 3 with experts (2025): Qwen 3's attention, no shared expert. */
export const qwen3Moe = llamaFamily({
  modelTypes: ["qwen3_moe"],
  parse(c, modelType) {
    onlySilu(c);
    c.only("use_sliding_window", [false], "windows of this family are not there yet");
    for (const field of ["sliding_window", "max_window_layers"]) c.number(field); // of windows that are switched off
    const base = readLlama(c, modelType, { headDim: 128 });
    const biased = c.boolean("attention_bias", false);
    return {
      ...base,
      qkNorm: "head",
      biases: { qkv: biased, out: biased, mlp: false },
      mixture: qwenMixture(c, base),
    };
  },
  layer: sparseLayer((_, layer) => expertModules(layer)),
});
