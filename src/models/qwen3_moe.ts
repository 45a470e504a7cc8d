import type { ConfigReader } from "./config.ts";
import { llamaFamily, onlySilu, readLlama, sparseLayer } from "./llama.ts";
import { expertModules, qwenMixture } from "./qwen2_moe.ts";

/** The window of every layer, where windows are switched on: transformers looks at no `max_window_layers` in this family. */
function windowOf(c: ConfigReader): number | undefined {
  if (!c.boolean("use_sliding_window", false)) {
    for (const field of ["sliding_window", "max_window_layers"]) c.number(field);
    return undefined;
  }
  c.only("max_window_layers", [0], "this family has its window in every layer");
  return c.integer("sliding_window");
}

/** Qwen 3 with experts (2025): Qwen 3's attention, no shared expert. */
export const qwen3Moe = llamaFamily({
  modelTypes: ["qwen3_moe"],
  parse(c, modelType) {
    onlySilu(c);
    const base = readLlama(c, modelType, { headDim: 128 });
    const window = windowOf(c);
    const biased = c.boolean("attention_bias", false);
    return {
      ...base,
      qkNorm: "head",
      biases: { qkv: biased, out: biased, mlp: false },
      attention: base.attention.map((a) => ({ ...a, ...(window !== undefined && { window }) })),
      mixture: qwenMixture(c, base),
    };
  },
  layer: sparseLayer((_, layer) => expertModules(layer)),
});
