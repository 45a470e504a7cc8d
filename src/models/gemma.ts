import type { ConfigReader } from "./config.ts";
import { llamaFamily, readLlama, type LlamaConfig, type LlamaDefaults } from "./llama.ts";

/** What all Gemma models share: norms of 1 + w, GELU gates, embeddings times √hidden, heads of a size of their own, a tied head. */
export function readGemma(c: ConfigReader, modelType: string, defaults: LlamaDefaults = {}): LlamaConfig {
  const base = readLlama(c, modelType, { tied: true, headDim: 256, ...defaults });
  c.only("use_bidirectional_attention", [false], "only causal attention is run");
  const biased = c.boolean("attention_bias", false);
  return {
    ...base,
    normOffset: 1,
    gate: "gelu-tanh",
    biases: { qkv: biased, out: biased, mlp: false },
    scales: { ...base.scales, embed: Math.sqrt(base.hiddenSize) },
  };
}

/** Gemma (2024). Its first configs say "gelu" where the models were trained with the tanh form: both mean that one. */
export const gemma = llamaFamily({
  modelTypes: ["gemma"],
  parse(c, modelType) {
    c.only("hidden_act", ["gelu_pytorch_tanh", "gelu"], "Gemma has GELU in its tanh form");
    c.only("hidden_activation", ["gelu_pytorch_tanh"], "Gemma has GELU in its tanh form");
    return readGemma(c, modelType);
  },
});
