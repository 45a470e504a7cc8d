import { readGemma } from "./gemma.ts";
import { readGemma2, sandwichForward, sandwichLayer } from "./gemma2.ts";
import { llamaFamily } from "./llama.ts";
import type { RopeConfig } from "./rope.ts";

/**
 * Gemma 3, text (2025): Gemma 2 with norms of queries and keys instead of soft caps, five windowed layers to a full one, and
 * a rotary regime for each of the two: windowed layers have a base of their own and are never stretched.
 */
export const gemma3 = llamaFamily({
  modelTypes: ["gemma3_text"],
  parse(c, modelType) {
    const both = c.nested("rope_parameters");
    if (both && !both.absent("full_attention")) {
      throw c.error(
        "rope_parameters",
        "a regime for each kind of layer is read from rope_theta and rope_local_base_freq",
      );
    }
    const base = readGemma(c, modelType, { theta: 1e6 });
    const full = c.integer("sliding_window_pattern", { fallback: 6 });
    const config = readGemma2(c, base, full, 4096);
    const theta = c.positive("rope_local_base_freq", 10000);
    const local: RopeConfig = { theta, dim: base.headDim, scaling: { type: "default" } };
    return {
      ...config,
      qkNorm: "head",
      ropes: [base.ropes[0]!, local],
      attention: config.attention.map((a) => ({ ...a, rope: a.window === undefined ? 0 : 1 })),
    };
  },
  layer: sandwichLayer,
  forward: sandwichForward,
  ownNorms: 2,
});
