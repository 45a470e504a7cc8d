import { llamaFamily, llamaLayer, readLlama, type LlamaConfig } from "./llama.ts";
import { readMixture, stackOptions } from "./mixture.ts";
import { readLayerTypes } from "./read.ts";
import { whole, type TableBuilder } from "./table.ts";

/**
 * gpt-oss (OpenAI 2025): Llama with biases, every other layer seeing a window, a learned sink in each head's softmax, and
 * experts with a clamped SwiGLU. Experts are read as two stacks of matrices [in, out] in 16 bits, as transformers saves
 * them; the original files' MXFP4 is refused.
 */
export const gptOss = llamaFamily({
  modelTypes: ["gpt_oss"],
  parse(c, modelType) {
    c.only("quantization_config", [], "experts in MXFP4 are not read yet; use a checkpoint in bf16");
    c.only("hidden_act", ["silu"], "gpt-oss has a clamped SwiGLU");
    c.only("swiglu_alpha", [1.702], "the gate's factor is 1.702");
    if (c.absent("rope_scaling") && c.absent("rope_parameters")) throw c.error("rope_scaling", "is missing");
    const base = readLlama(c, modelType, { headDim: 64, theta: 150000 });
    const m = readMixture(c, base.layers, { experts: "num_local_experts", width: "intermediate_size" });
    c.only("experts_per_token", [m.topK], "it is not what num_experts_per_tok says");
    c.number("initial_context_length"); // as in rope_scaling
    const window = c.integer("sliding_window", { fallback: 128 });
    const sliding = readLayerTypes(c, base.layers, (i) => i % 2 === 0);
    const biased = c.boolean("attention_bias", true);
    return {
      ...base,
      biases: { qkv: biased, out: biased, mlp: true },
      sinks: true,
      attention: base.attention.map((a, i) => ({ ...a, ...(sliding[i] && { window }) })),
      mixture: { ...m, gate: "swiglu-clamped", limit: c.positive("swiglu_limit", 7) },
    };
  },
  layer(b, config, i) {
    llamaLayer(b, config, i, undefined, (at) => {
      turnedExperts(b, config, i, `${at}.mlp`);
    });
  },
});

/** Both stacks, gate and up already in turn. */
function turnedExperts(b: TableBuilder, { hiddenSize, mixture }: LlamaConfig, i: number, at: string): void {
  const { experts: stack, width } = mixture!;
  const turned = (role: string, module: string, inFeatures: number, outFeatures: number): void => {
    const placed = (name: string) => whole(name, stack * outFeatures).map((part) => ({ ...part, stack }));
    b.table.set(`${i}.${role}`, {
      kind: "linear",
      inFeatures,
      outFeatures: stack * outFeatures,
      tensors: placed(`${at}.experts.${module}`),
      bias: placed(`${at}.experts.${module}_bias`),
      transposed: true,
      ...stackOptions(mixture!, outFeatures),
    });
  };
  b.matrix(`${i}.router`, hiddenSize, whole(`${at}.router`, stack), { exact: true, bias: true });
  turned("experts_up", "gate_up_proj", hiddenSize, 2 * width);
  turned("experts_down", "down_proj", width, hiddenSize);
}
