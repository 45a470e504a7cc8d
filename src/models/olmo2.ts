import type { Graph, Tensor } from "../kernels/graph.ts";
import { embed, linear } from "../kernels/linear.ts";
import { norm, type Norm } from "../kernels/norm.ts";
import type { Resident } from "./family.ts";
import { attend, gatedMlp, llamaFamily, llamaLayer, onlySilu, readLlama, rmsNorm, type LlamaConfig } from "./llama.ts";

/** x + norm(attention(x)), then x + norm(mlp(x)): what enters a half is not normalised, what leaves it is. */
function forward(graph: Graph, model: Resident<LlamaConfig>): Tensor {
  const { config, weights } = model;
  const after = (role: string): Norm => ({ kind: "rms", ...rmsNorm(model, role) });
  let x = embed(graph, weights.linear("embed"));
  for (let i = 0; i < config.layers; i++) {
    const qkv = linear(graph, x, weights.linear(`${i}.qkv`));
    const mixed = linear(graph, attend(graph, model, i, qkv), weights.linear(`${i}.o`));
    x = norm(graph, mixed, after(`${i}.post_attention_norm`), { residual: x });
    x = norm(graph, gatedMlp(graph, model, i, x, undefined, {}), after(`${i}.post_mlp_norm`), { residual: x });
  }
  return x;
}

/** OLMo 2 (2024): norms after each half, and RMSNorm of all queries, and of all keys, of a row together. */
export const olmo2 = llamaFamily({
  modelTypes: ["olmo2"],
  parse(c, modelType) {
    onlySilu(c);
    const biased = c.boolean("attention_bias", false);
    return { ...readLlama(c, modelType), qkNorm: "row", biases: { qkv: biased, out: biased, mlp: false } };
  },
  layer: (b, config, i) =>
    llamaLayer(b, config, i, [
      ["post_attention_norm", "post_attention_layernorm"],
      ["post_mlp_norm", "post_feedforward_layernorm"],
    ]),
  forward,
  ownNorms: 2,
});
