import { llamaFamily, onlySilu, readLlama } from "./llama.ts";

/** MiniCPM (Hu et al. 2024): Llama scaled after µP, depth and width apart. */
export const minicpm = llamaFamily({
  modelTypes: ["minicpm"],
  parse(c, modelType) {
    onlySilu(c);
    c.only("num_experts", [0], "mixtures of experts are not there yet");
    const base = readLlama(c, modelType, { tied: true });
    return {
      ...base,
      scales: {
        ...base.scales,
        embed: c.positive("scale_emb", 1),
        residual: c.positive("scale_depth", 1) / Math.sqrt(base.layers),
        logits: c.positive("dim_model_base", base.hiddenSize) / base.hiddenSize,
      },
    };
  },
});
