import type { ConfigReader } from "./config.ts";
import { llamaFamily, onlySilu, readLlama, type LlamaConfig } from "./llama.ts";

/** Llama's fields, and the factors on embeddings, scores, residual branches and logits. */
export function readGranite(c: ConfigReader, modelType: string): LlamaConfig {
  onlySilu(c);
  const out = c.boolean("attention_bias", false);
  return {
    ...readLlama(c, modelType),
    biases: { qkv: out, out, mlp: c.boolean("mlp_bias", false) },
    scales: {
      embed: c.positive("embedding_multiplier", 1),
      attention: c.positive("attention_multiplier", 1),
      residual: c.positive("residual_multiplier", 1),
      logits: 1 / c.positive("logits_scaling", 1),
    },
  };
}

/** IBM Granite 3: Llama with factors on embeddings, scores, residual branches and logits (in the manner of µP). */
export const granite = llamaFamily({ modelTypes: ["granite"], parse: readGranite });
