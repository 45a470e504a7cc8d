import type { ConfigReader } from "./config.ts";
import { llamaFamily, onlySilu, readLlama, sparseLayer, type LlamaConfig } from "./llama.ts";
import { readMixture, withSharedExperts, type Mixture, type MixtureModules } from "./mixture.ts";
import { qwenWindows } from "./qwen2.ts";

/** Experts as Qwen's configs have them: some layers may be dense. */
export function qwenMixture(c: ConfigReader, base: LlamaConfig): Mixture {
  const m = readMixture(c, base.layers, { experts: "num_experts", width: "moe_intermediate_size" });
  const step = c.integer("decoder_sparse_step", { fallback: 1 });
  const dense = c.integers("mlp_only_layers", base.layers);
  return {
    ...m,
    renormalise: c.boolean("norm_topk_prob", false),
    sparse: m.sparse.map((_, i) => !dense.includes(i) && (i + 1) % step === 0),
  };
}

/** Experts one by one, with the names that Llama's feed-forward has. */
export function expertModules(layer: string): MixtureModules {
  const at = `${layer}.mlp`;
  const projections = (module: string) => [`${module}.gate_proj`, `${module}.up_proj`, `${module}.down_proj`] as const;
  return { router: `${at}.gate`, expert: (e) => projections(`${at}.experts.${e}`) };
}

/** The same with an expert for every token, published under `name`. */
export function withShared(layer: string, name: string, gate?: string): MixtureModules {
  const at = `${layer}.mlp.${name}`;
  return {
    ...expertModules(layer),
    shared: [`${at}.gate_proj`, `${at}.up_proj`, `${at}.down_proj`],
    ...(gate !== undefined && { sharedGate: `${layer}.mlp.${gate}` }),
  };
}

/** Qwen 1.5 and 2 with experts (2024): Qwen 2 with an expert for every token behind a gate of its own. */
export const qwen2Moe = llamaFamily({
  modelTypes: ["qwen2_moe"],
  parse(c, modelType) {
    onlySilu(c);
    const base = readLlama(c, modelType);
    const m = qwenMixture(c, base);
    const field = "shared_expert_intermediate_size";
    const shared = c.integer(field);
    if (shared % m.width) throw c.error(field, `${shared} is not a multiple of an expert's width of ${m.width}`);
    return {
      ...base,
      biases: { qkv: c.boolean("qkv_bias", true), out: false, mlp: false },
      attention: qwenWindows(c, base),
      mixture: { ...withSharedExperts(c, m, shared / m.width, field), sharedGate: true },
    };
  },
  layer: sparseLayer((_, layer) => withShared(layer, "shared_expert", "shared_expert_gate")),
});
