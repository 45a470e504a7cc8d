import { llamaFamily, onlySilu, readLlama } from "./llama.ts";

/** Mistral (Jiang et al. 2023): Llama whose rows see a window of the last keys. transformers' window where none is named is 4096. */
export const mistral = llamaFamily({
  modelTypes: ["mistral"],
  parse(c, modelType) {
    onlySilu(c);
    const base = readLlama(c, modelType, { kvHeads: 8 });
    // MLC-LLM's name for the same number.
    const fallback = c.integer("sliding_window_size", { fallback: 4096 });
    const window = c.isNull("sliding_window") ? undefined : c.integer("sliding_window", { fallback });
    return { ...base, attention: base.attention.map((a) => ({ ...a, ...(window && { window }) })) };
  },
});
