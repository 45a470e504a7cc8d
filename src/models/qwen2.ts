import { readLayerTypes } from "./read.ts";
import type { ConfigReader } from "./config.ts";
import { llamaFamily, onlySilu, readLlama, type LayerAttention, type LlamaConfig } from "./llama.ts";

/** Windows of Qwen's configs: from layer `max_window_layers` on, and only where they are switched on. */
export function qwenWindows(c: ConfigReader, base: LlamaConfig): readonly LayerAttention[] {
  const on = c.boolean("use_sliding_window", false);
  const window = c.integer("sliding_window", { fallback: 4096 });
  const first = c.integer("max_window_layers", { fallback: 28, min: 0 });
  const sliding = readLayerTypes(c, base.layers, (i) => on && i >= first);
  return base.attention.map((a, i) => ({ ...a, ...(on && sliding[i] && { window }) }));
}

/** Qwen 1.5, 2 and 2.5: Llama with biases on queries, keys and values. */
export const qwen2 = llamaFamily({
  modelTypes: ["qwen2"],
  parse(c, modelType) {
    onlySilu(c);
    const base = readLlama(c, modelType);
    return { ...base, biases: { qkv: true, out: false, mlp: false }, attention: qwenWindows(c, base) };
  },
});
