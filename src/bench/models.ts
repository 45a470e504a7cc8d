import { ArgumentError } from "../base/errors.ts";
import { LLAMA32_1B, QWEN3_06B, SMOLLM2_135M, type ModelShape } from "./shapes.ts";

/** A model that the bench makes itself: a config.json is all that there is to it, the weights are random (made.ts). */
export interface MadeModel {
  readonly name: string;
  /** Without `eos_token_id`, so that nothing it draws ends a generation. */
  readonly config: Readonly<Record<string, unknown>>;
}

/** Fields of a decoder in Llama's form, as its config.json names them. */
function decoder({ name, ...shape }: ModelShape, layers: number, more: Readonly<Record<string, unknown>>): MadeModel {
  return {
    name,
    config: {
      hidden_size: shape.hidden,
      num_hidden_layers: layers,
      num_attention_heads: shape.heads,
      num_key_value_heads: shape.kvHeads,
      head_dim: shape.headDim,
      intermediate_size: shape.intermediate,
      vocab_size: shape.vocab,
      hidden_act: "silu",
      tie_word_embeddings: true,
      ...more,
    },
  };
}

/** Small enough for a software device and a test. */
const TINY: ModelShape = {
  name: "tiny",
  hidden: 128,
  heads: 4,
  kvHeads: 2,
  headDim: 32,
  intermediate: 256,
  vocab: 512,
};

/** No published model: a mixture of experts of a size that a laptop holds. */
const MIXTURE: ModelShape = {
  name: "moe-24x1024",
  hidden: 1024,
  heads: 16,
  kvHeads: 4,
  headDim: 64,
  intermediate: 3072,
  vocab: 49_152,
};

/**
 * What `--shape` names; the first is the default. SmolLM2, Qwen3 and Llama 3.2 are as published; the mixture and the model
 * with latent attention (DeepSeek-V2-Lite's, at half its width and depth) are nobody's, and small.
 */
export const MADE_MODELS: readonly MadeModel[] = [
  decoder(SMOLLM2_135M, 30, {
    model_type: "llama",
    max_position_embeddings: 8192,
    rope_theta: 100_000,
    rms_norm_eps: 1e-5,
  }),
  decoder(QWEN3_06B, 28, {
    model_type: "qwen3",
    max_position_embeddings: 40_960,
    rope_theta: 1_000_000,
    rms_norm_eps: 1e-6,
  }),
  decoder(LLAMA32_1B, 16, {
    model_type: "llama",
    max_position_embeddings: 131_072,
    rope_theta: 500_000,
    rms_norm_eps: 1e-5,
  }),
  decoder(MIXTURE, 24, {
    model_type: "qwen3_moe",
    num_experts: 32,
    num_experts_per_tok: 4,
    moe_intermediate_size: 512,
    norm_topk_prob: true,
    max_position_embeddings: 32_768,
    rope_theta: 1_000_000,
    rms_norm_eps: 1e-6,
  }),
  {
    name: "mla-12x1024",
    config: {
      model_type: "deepseek_v2",
      hidden_size: 1024,
      num_hidden_layers: 12,
      num_attention_heads: 16,
      qk_nope_head_dim: 128,
      qk_rope_head_dim: 64,
      v_head_dim: 128,
      kv_lora_rank: 512,
      intermediate_size: 2816,
      n_routed_experts: 32,
      n_shared_experts: 1,
      num_experts_per_tok: 4,
      moe_intermediate_size: 512,
      first_k_dense_replace: 1,
      vocab_size: 49_152,
      max_position_embeddings: 8192,
      rope_theta: 10_000,
      rms_norm_eps: 1e-6,
      tie_word_embeddings: false,
    },
  },
  decoder(TINY, 2, { model_type: "llama", max_position_embeddings: 2048, rope_theta: 10_000 }),
];

/** @throws ArgumentError naming the shapes that there are. */
export function findShape(name: string): MadeModel {
  const found = MADE_MODELS.find((model) => model.name === name);
  if (found) return found;
  const names = MADE_MODELS.map((model) => model.name).join(", ");
  throw new ArgumentError(`There is no shape ${JSON.stringify(name)} to make a model of; there are ${names}.`);
}
