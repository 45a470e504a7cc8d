import { readExperts } from "./deepseek_v2.ts";
import { llamaFamily, onlySilu, readLlama, sparseLayer } from "./llama.ts";
import { withShared } from "./qwen2_moe.ts";

/** DeepSeekMoE (Dai et al. 2024): Llama's attention, fine-grained experts beside shared ones after a dense layer. */
export const deepseek = llamaFamily({
  modelTypes: ["deepseek"],
  parse(c, modelType) {
    onlySilu(c);
    c.only("scoring_func", ["softmax"], "this form has softmax scores");
    c.only("moe_layer_freq", [1], "every layer behind the dense ones has experts");
    const base = readLlama(c, modelType);
    const biased = c.boolean("attention_bias", false);
    const m = readExperts(c, base.layers, 0);
    return {
      ...base,
      biases: { qkv: biased, out: biased, mlp: false },
      mixture: { ...m, renormalise: c.boolean("norm_topk_prob", false) },
    };
  },
  layer: sparseLayer(({ mixture }, layer) => {
    const { router, expert, ...shared } = withShared(layer, "shared_experts");
    return { router, expert, ...(mixture!.shared > 0 && shared) };
  }),
});
