import type { Graph, Tensor } from "../kernels/graph.ts";
import { embed, linear } from "../kernels/linear.ts";
import { norm, type Norm } from "../kernels/norm.ts";
import type { ConfigReader } from "./config.ts";
import type { Resident } from "./family.ts";
import { readGemma } from "./gemma.ts";
import { attend, gatedMlp, llamaFamily, llamaLayer, rmsNorm, type LlamaConfig } from "./llama.ts";
import { readLayerTypes } from "./read.ts";
import type { TableBuilder } from "./table.ts";

/** The norms of a layer before and after each half: the sandwich form. */
export function sandwichLayer(b: TableBuilder, config: LlamaConfig, i: number): void {
  llamaLayer(b, config, i, [
    ["input_norm", "input_layernorm"],
    ["post_attention_norm", "post_attention_layernorm"],
    ["post_norm", "pre_feedforward_layernorm"],
    ["post_mlp_norm", "post_feedforward_layernorm"],
  ]);
}

/** x + norm(attention(norm(x))), then x + norm(mlp(norm(x))). */
export function sandwichForward(graph: Graph, model: Resident<LlamaConfig>): Tensor {
  const { config, weights } = model;
  const after = (role: string): Norm => ({ kind: "rms", ...rmsNorm(model, role) });
  let x = embed(graph, weights.linear("embed"), config.scales.embed);
  for (let i = 0; i < config.layers; i++) {
    const qkv = linear(graph, x, weights.linear(`${i}.qkv`), { norm: rmsNorm(model, `${i}.input_norm`) });
    const mixed = linear(graph, attend(graph, model, i, qkv), weights.linear(`${i}.o`));
    x = norm(graph, mixed, after(`${i}.post_attention_norm`), { residual: x });
    const fed = gatedMlp(graph, model, i, x, rmsNorm(model, `${i}.post_norm`), {});
    x = norm(graph, fed, after(`${i}.post_mlp_norm`), { residual: x });
  }
  return x;
}

/** What Gemma 2 and 3 share: windows in some layers, scores scaled by a field of its own, soft caps where they are named. */
export function readGemma2(c: ConfigReader, base: LlamaConfig, everyFull: number, windowDefault?: number): LlamaConfig {
  c.oneOf("hidden_activation", ["gelu_pytorch_tanh"], "gelu_pytorch_tanh");
  c.only("hidden_act", ["gelu_pytorch_tanh"], "Gemma has GELU in its tanh form");
  const window = c.integer("sliding_window", { ...(windowDefault && { fallback: windowDefault }) });
  c.only("sliding_window_size", [window], "it is not what sliding_window says");
  const sliding = readLayerTypes(c, base.layers, (i) => (i + 1) % everyFull !== 0);
  const [attention, logits] = [c.number("attn_logit_softcapping"), c.number("final_logit_softcapping")];
  return {
    ...base,
    attention: base.attention.map((a, i) => ({ ...a, ...(sliding[i] && { window }) })),
    scales: { ...base.scales, attention: c.positive("query_pre_attn_scalar", 256) ** -0.5 },
    softCaps: { ...(attention !== undefined && { attention }), ...(logits !== undefined && { logits }) },
  };
}

/** Gemma 2 (2024): every other layer sees a window, norms on both sides of each half, soft-capped scores and logits. */
export const gemma2 = llamaFamily({
  modelTypes: ["gemma2"],
  parse: (c, modelType) => readGemma2(c, readGemma(c, modelType), 2, 4096),
  layer: sandwichLayer,
  forward: sandwichForward,
  ownNorms: 2,
});
