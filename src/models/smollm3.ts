import { llamaFamily, onlySilu, readLlama } from "./llama.ts";
import { readLayerTypes } from "./read.ts";

/** SmolLM 3: Llama with layers that do not rotate (NoPE, Yang et al. 2025), every fourth where no list says which. */
export const smollm3 = llamaFamily({
  modelTypes: ["smollm3"],
  parse(c, modelType) {
    onlySilu(c);
    const base = readLlama(c, modelType, { tied: true, kvHeads: 4, theta: 2e6 });
    const interval = c.integer("no_rope_layer_interval", { fallback: 4 });
    const isFlag = (x: unknown): x is 0 | 1 => x === 0 || x === 1;
    // A list of which layers do rotate, whatever its name says.
    const rotates = c.absent("no_rope_layers")
      ? base.attention.map((_, i) => (i + 1) % interval !== 0)
      : c.list("no_rope_layers", base.layers, "zeros and ones", isFlag).map(Boolean);
    const on = c.boolean("use_sliding_window", false);
    const window = on ? c.integer("sliding_window") : undefined;
    c.ignore("sliding_window", "max_window_layers");
    const sliding = readLayerTypes(c, base.layers, (i) => on && !rotates[i]);
    const out = c.boolean("attention_bias", false);
    return {
      ...base,
      biases: { qkv: out, out, mlp: c.boolean("mlp_bias", false) },
      attention: base.attention.map((_, i) => ({
        rope: rotates[i] ? 0 : null,
        ...(on && sliding[i] && { window: window! }),
      })),
    };
  },
});
