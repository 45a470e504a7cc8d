import { llamaFamily, onlySilu, readLlama, sparseLayer } from "./llama.ts";
import { readMixture } from "./mixture.ts";
import { expertModules } from "./qwen2_moe.ts";

/** OLMoE (Muennighoff et al. 2024): experts in every layer, weighted by the softmax over all of them; norms of whole queries and keys. */
export const olmoe = llamaFamily({
  modelTypes: ["olmoe"],
  parse(c, modelType) {
    onlySilu(c);
    const base = readLlama(c, modelType);
    const biased = c.boolean("attention_bias", false);
    const m = readMixture(c, base.layers, { experts: "num_experts", width: "intermediate_size" });
    return {
      ...base,
      qkNorm: "row",
      ...(!c.absent("clip_qkv") && { clip: c.positive("clip_qkv") }),
      biases: { qkv: biased, out: biased, mlp: false },
      mixture: { ...m, renormalise: c.boolean("norm_topk_prob", false) },
    };
  },
  layer: sparseLayer((_, layer) => expertModules(layer)),
});
