import { llamaFamily, onlySilu, readLlama, sparseLayer } from "./llama.ts";
import { readMixture } from "./mixture.ts";

/** MiniCPM (Hu et al. 2024): Llama scaled after µP, depth and width apart; MiniCPM-MoE with experts in every layer. */
export const minicpm = llamaFamily({
  modelTypes: ["minicpm"],
  parse(c, modelType) {
    onlySilu(c);
    const sparse = !c.absent("num_experts") && c.integer("num_experts", { min: 0 }) > 0;
    const base = readLlama(c, modelType, { tied: true });
    const residual = c.positive("scale_depth", 1) / Math.sqrt(base.layers);
    const fields = { experts: "num_experts", width: "intermediate_size" };
    return {
      ...base,
      scales: {
        ...base.scales,
        embed: c.positive("scale_emb", 1),
        residual,
        logits: c.positive("dim_model_base", base.hiddenSize) / base.hiddenSize,
      },
      mixture: sparse ? { ...readMixture(c, base.layers, fields), scale: residual } : null,
    };
  },
  layer: sparseLayer((_, layer) => {
    const at = `${layer}.mlp`;
    return {
      router: `${at}.gate`,
      expert: (e) => [`${at}.experts.${e}.w1`, `${at}.experts.${e}.w3`, `${at}.experts.${e}.w2`],
    };
  }),
});
