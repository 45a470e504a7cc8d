import { deepseekFamily, readDeepseek, readGroups } from "./deepseek_v2.ts";

/**
 * DeepSeek-V3 and R1 (2024): V2 with sigmoid scores, a bias to choose by that balances experts without a loss, groups by
 * their two best, and modules that predict further tokens.
 */
export const deepseekV3 = deepseekFamily(["deepseek_v3"], (c, modelType) => {
  c.only("scoring_func", ["sigmoid"], "DeepSeek-V3 has sigmoid scores");
  c.only("topk_method", ["noaux_tc"], "DeepSeek-V3 chooses by scores and their bias");
  const config = readDeepseek(c, modelType, 3);
  return {
    ...config,
    interleaved: c.boolean("rope_interleave", true),
    mixture: {
      ...config.mixture,
      score: "sigmoid",
      renormalise: c.boolean("norm_topk_prob", true),
      scale: c.positive("routed_scaling_factor", 2.5),
      selectionBias: true,
      ...readGroups(c, config.mixture.experts, "best two"),
    },
    predictors: c.integer("num_nextn_predict_layers", { fallback: 0, min: 0, max: 8 }),
  };
});
