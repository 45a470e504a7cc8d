import { llamaFamily, onlySilu, readLlama, sparseLayer } from "./llama.ts";
import { readMixture } from "./mixture.ts";

/** Mixtral (Jiang et al. 2024): Mistral with experts in every layer, weighted by the softmax over the chosen ones. */
export const mixtral = llamaFamily({
  modelTypes: ["mixtral"],
  parse(c, modelType) {
    onlySilu(c);
    const base = readLlama(c, modelType, { kvHeads: 8, theta: 1e6 });
    const window = c.absent("sliding_window") ? undefined : c.integer("sliding_window");
    return {
      ...base,
      attention: base.attention.map((a) => ({ ...a, ...(window && { window }) })),
      mixture: readMixture(c, base.layers, { experts: "num_local_experts", width: "intermediate_size" }),
    };
  },
  layer: sparseLayer((_, layer) => {
    const at = `${layer}.block_sparse_moe`;
    return {
      router: `${at}.gate`,
      expert: (e) => [`${at}.experts.${e}.w1`, `${at}.experts.${e}.w3`, `${at}.experts.${e}.w2`],
    };
  }),
});
