/**
 * What every family in models/ has to hold, over the oracle's rows: their configs are as authors publish them, and the
 * headers of their checkpoints say which tensors there are.
 */
import { afterAll, describe, expect, it } from "vitest";
import { ConfigError } from "../../src/base/errors.ts";
import { Usage } from "../../src/gpu/arena.ts";
import { createBatch } from "../../src/kernels/batch.ts";
import { Pipelines } from "../../src/kernels/define.ts";
import { Graph } from "../../src/kernels/graph.ts";
import type { Linear } from "../../src/kernels/linear.ts";
import { PORTABLE } from "../../src/kernels/tuning.ts";
import {
  publishedBiasShape,
  publishedShape,
  type LinearSpec,
  type ModelConfig,
  type Resident,
  type TensorPlacement,
  type WeightTable,
} from "../../src/models/family.ts";
import { findFamily, supportedModelTypes } from "../../src/models/index.ts";
import { parseHeader } from "../../src/weights/safetensors.ts";
import { FAMILY_ROWS, rowSource } from "../engine/families.ts";
import { readBytes, readFixtureJson } from "../support/fixtures.ts";
import { openNullGpu } from "../support/null-gpu.ts";

type Json = Record<string, unknown>;

const rows = await Promise.all(
  Object.values(FAMILY_ROWS)
    .flat()
    .map(async (row) => [row, await readFixtureJson<Json>(`tests/fixtures/families/${row}/config.json`)] as const),
);
const gpu = await openNullGpu();
afterAll(() => {
  gpu?.device.destroy();
});

/** Values that would be run wrongly, by model_type, each refused by the field's name; those of Llama's form for all of it. */
const LLAMA_FORM: readonly [string, unknown][] = [
  ["hidden_size", "24"],
  ["intermediate_size", 61],
  ["head_dim", 6],
  ["head_dim", 516],
  ["num_key_value_heads", 3],
  ["num_hidden_layers", 0],
  ["num_attention_heads", 1.5],
  ["vocab_size", -1],
  ["rms_norm_eps", 0],
  ["max_position_embeddings", "long"],
  ["bos_token_id", 160],
  ["eos_token_id", [2, 1.5]],
  ["tie_word_embeddings", 1],
  ["rope_interleaved", true],
  ["rope_scaling", { rope_type: "mrope", factor: 8 }],
  ["rope_scaling", { rope_type: "linear" }],
  ["rope_scaling", { rope_type: "linear", factor: 2, mystery: 3 }],
  ["partial_rotary_factor", 2],
  ["quantization_config", { quant_method: "gptq" }],
];
const SILU: [string, unknown] = ["hidden_act", "gelu"];
/** Those of latent attention. */
const DEEPSEEK_FORM: readonly [string, unknown][] = [
  SILU,
  ["hidden_size", 30],
  ["kv_lora_rank", 12],
  ["q_lora_rank", 6],
  ["qk_nope_head_dim", 6],
  ["qk_rope_head_dim", 0],
  ["v_head_dim", 3],
  ["head_dim", 32],
  ["num_key_value_heads", 2],
  ["moe_layer_freq", 2],
  ["n_routed_experts", 513],
  ["num_experts_per_tok", 17],
  ["n_shared_experts", -1],
  ["n_shared_experts", 33],
  ["n_group", 3],
  ["topk_group", 17],
  ["rope_scaling", { rope_type: "mrope", factor: 8 }],
  ["quantization_config", { quant_method: "fp8" }],
];
const REFUSED: Readonly<Record<string, readonly (readonly [string, unknown])[]>> = {
  llama: [...LLAMA_FORM, SILU, ["attention_bias", "yes"], ["num_experts", 8], ["attn_schedule", 1]],
  mistral: [...LLAMA_FORM, SILU, ["sliding_window", 0], ["attention_bias", true]],
  qwen2: [...LLAMA_FORM, SILU, ["max_window_layers", -1], ["layer_types", ["full_attention"]]],
  qwen3: [...LLAMA_FORM, SILU, ["layer_types", ["chunked_attention", "full_attention"]]],
  gemma: [...LLAMA_FORM, ["hidden_act", "silu"], ["use_bidirectional_attention", true]],
  gemma2: [...LLAMA_FORM, ["hidden_activation", "gelu"], ["sliding_window_size", 99], ["query_pre_attn_scalar", 0]],
  gemma3_text: [
    ...LLAMA_FORM,
    ["rope_parameters", { full_attention: {}, sliding_attention: {} }],
    ["rope_local_base_freq", -1],
  ],
  phi3: [
    ...LLAMA_FORM,
    SILU,
    ["attention_bias", true],
    ["embd_layer", {}],
    ["full_attn_mod", 2],
    ["lm_head_bias", true],
  ],
  olmo2: [...LLAMA_FORM, SILU, ["clip_qkv", 8]],
  granite: [...LLAMA_FORM, SILU, ["residual_multiplier", 0], ["logits_scaling", "8"]],
  minicpm: [...LLAMA_FORM, SILU, ["num_experts", -1], ["scale_depth", -1]],
  smollm3: [...LLAMA_FORM, SILU, ["no_rope_layers", [1]], ["no_rope_layer_interval", 0]],
  internlm: [...LLAMA_FORM, SILU, ["bias", 1]],
  internlm2: [...LLAMA_FORM, SILU, ["bias", true]],
  gpt2: [
    ["n_embd", 41.5],
    ["n_head", 3],
    ["activation_function", "tanh"],
    ["scale_attn_weights", 1],
    ["num_key_value_heads", 1],
  ],
  gpt_bigcode: [
    ["scale_attn_weights", false],
    ["multi_query", "yes"],
  ],
  gpt_neox: [
    ["rotary_pct", 0.1],
    ["hidden_act", "mish"],
    ["attention_bias", 0],
    ["rope_scaling", { type: "ntk", factor: 2 }],
  ],
  gptj: [
    ["rotary_dim", 32],
    ["rotary_dim", 6],
    ["rope_scaling", { rope_type: "linear", factor: 2 }],
    ["rotary", false],
  ],
  phi: [
    ["qk_layernorm", true],
    ["partial_rotary_factor", 2],
  ],
  "phi-msft": [
    ["rotary_dim", 20],
    ["n_head_kv", 3],
    ["img_processor", {}],
  ],
  mixtral: [...LLAMA_FORM, SILU, ["num_local_experts", 513], ["num_experts_per_tok", 9], ["sliding_window", "all"]],
  qwen2_moe: [
    ...LLAMA_FORM,
    SILU,
    ["shared_expert_intermediate_size", 24],
    ["shared_expert_intermediate_size", 16 * 33],
    ["moe_intermediate_size", 18],
    ["mlp_only_layers", [0, 2]],
    ["decoder_sparse_step", 0],
    ["norm_topk_prob", "no"],
  ],
  qwen3_moe: [...LLAMA_FORM, SILU, ["use_sliding_window", "yes"], ["num_experts", 0], ["mlp_only_layers", [-1]]],
  olmoe: [...LLAMA_FORM, SILU, ["clip_qkv", -8], ["num_experts_per_tok", 65]],
  granitemoe: [...LLAMA_FORM, SILU, ["residual_multiplier", 0], ["num_local_experts", "8"]],
  gpt_oss: [
    ...LLAMA_FORM,
    SILU,
    ["quantization_config", { quant_method: "mxfp4" }],
    ["rope_scaling", null],
    ["swiglu_alpha", 1],
    ["swiglu_limit", 0],
    ["layer_types", ["full_attention"]],
  ],
  deepseek: [...LLAMA_FORM, SILU, ["scoring_func", "sigmoid"], ["moe_layer_freq", 2], ["first_k_dense_replace", -1]],
  deepseek_v2: [
    ...DEEPSEEK_FORM,
    ["scoring_func", "sigmoid"],
    ["topk_method", "noaux_tc"],
    ["norm_topk_prob", true],
    ["routed_scaling_factor", 0],
  ],
  deepseek_v3: [
    ...DEEPSEEK_FORM,
    ["scoring_func", "softmax"],
    ["topk_method", "greedy"],
    ["n_group", 16],
    ["num_nextn_predict_layers", -1],
    ["rope_interleave", "yes"],
  ],
  starcoder2: [
    ["norm_type", "rms_norm"],
    ["mlp_type", "gated"],
    ["layer_norm_epsilon", 1e-3],
  ],
  stablelm: [
    ["qk_layernorm", true],
    ["hidden_act", "gelu"],
  ],
  orion: [["hidden_act", "gelu"]],
  cohere: [
    ["hidden_act", "gelu"],
    ["logit_scale", 0],
  ],
  falcon: [
    ["alibi", true],
    ["apply_residual_connection_post_layernorm", true],
    ["num_ln_in_parallel_attn", 3],
    ["activation", "swish"],
  ],
  bloom: [
    ["apply_residual_connection_post_layernorm", true],
    ["hidden_size", 64],
  ],
  mpt: [
    ["attn_config", { alibi: false }],
    ["attn_config", { alibi: true, clip_qkv: 6 }],
    ["attn_config", { alibi: true, rope: true }],
    ["no_bias", false],
    ["logit_scale", 0.5],
    ["expansion_ratio", 2],
    ["norm_type", "rmsnorm"],
  ],
};

/** Every published tensor of a weight table, with the shape it asks for. */
function tensors(table: WeightTable): Record<string, readonly number[]> {
  const shapes: Record<string, readonly number[]> = {};
  const note = (name: string, shape: readonly number[]): void => {
    expect([name, shapes[name] ?? shape]).toEqual([name, shape]);
    shapes[name] = shape;
  };
  for (const spec of table.values()) {
    if (spec.kind === "vector") {
      if (spec.tensor !== undefined) note(spec.tensor, spec.shape ?? [spec.width]);
    } else {
      for (const place of spec.tensors) note(place.tensor, publishedShape(spec, place));
      for (const place of spec.bias ?? []) note(place.tensor, publishedBiasShape(place));
    }
  }
  return shapes;
}

it("has a row for every supported model_type", () => {
  expect([...new Set(rows.map(([, json]) => json["model_type"]))].sort()).toEqual([...supportedModelTypes].sort());
  expect(Object.keys(REFUSED).sort()).toEqual([...supportedModelTypes].sort());
});

describe.each(rows)("%s", (row, json) => {
  const { family } = findFamily(json);
  const config = family.parseConfig(json);
  const parse = (change: Json) => (): unknown => family.parseConfig({ ...json, ...change });

  it.each(REFUSED[json["model_type"] as string]!)("refuses %s = %o by its name", (field, value) => {
    expect(parse({ [field]: value })).toThrow(ConfigError);
    expect(parse({ [field]: value })).toThrow(`config.json: ${field}`);
  });

  it("refuses a field that it does not know", () => {
    expect(parse({ attention_chunk_size: 8192 })).toThrow("config.json: attention_chunk_size: 8192 is not understood");
    expect(parse({ attention_chunk_size: null })).not.toThrow();
  });

  it("complains of nothing but fields, whichever is missing or no number", () => {
    // These are read by nobody, or their text means something.
    const free = /token_id|dtype|pdrop|initializer|n_ctx|activation|hidden_act|norm_type|model_type|output_/;
    for (const field of Object.keys(json)) {
      try {
        family.parseConfig(Object.fromEntries(Object.entries(json).filter(([name]) => name !== field)));
      } catch (error) {
        expect([field, error]).toEqual([field, expect.any(ConfigError)]);
      }
      if (json[field] === null || free.test(field)) continue;
      expect(parse({ [field]: "many" }), field).toThrow(ConfigError);
    }
  });

  it("asks for the tensors of the published checkpoint, in their shapes", async () => {
    const file = await readBytes(`${rowSource(row)}/model.safetensors`);
    const length = Number(new DataView(file.buffer, file.byteOffset).getBigUint64(0, true));
    const header = parseHeader(row, file.subarray(8, 8 + length), file.length);
    const table = [...family.weightTable(config)];
    // All that is optional may be left out together.
    const optional = Object.keys(tensors(new Map(table.filter(([, spec]) => spec.optional))));
    const left = optional.some((name) => header.has(name)) ? table : table.filter(([, spec]) => !spec.optional);
    const asked = tensors(new Map(left));
    const published: Record<string, readonly number[]> = {};
    for (const { name, shape } of header.values()) {
      // Copies of the model's own embedding and head, which the model's serve for.
      if (/layers\.\d+\.(embed_tokens|shared_head\.head)\./.test(name)) continue;
      published[name in asked ? name : `${family.optionalPrefix}${name}`] = shape;
    }
    expect(asked).toEqual(published);
  });

  it("gives each row of every resident matrix to one published row, and wastes none", () => {
    const placed = new Map<string, number>();
    for (const spec of family.weightTable(config).values()) {
      if (spec.kind !== "linear") continue;
      expectWhole(spec);
      for (const p of [...spec.tensors, ...(spec.bias ?? [])]) {
        const columns = spec.inFeatures / (p.tensorColumns ?? spec.inFeatures);
        placed.set(p.tensor, (placed.get(p.tensor) ?? 0) + (columns * p.rows) / (p.tensorRows ?? p.rows));
      }
    }
    for (const [tensor, share] of placed) expect([tensor, share]).toEqual([tensor, expect.closeTo(1, 6)]);
  });

  it("has a cache of the model's heads, and frequencies for every element that rotates", () => {
    expect(family.cacheSpec(config).layers).toBe(config.layers);
    for (const rope of family.ropes(config, 64)) expect(rope.inverseFrequencies.length * 2).toBe(rope.dim);
  });

  it.skipIf(gpu === null)("keeps to its dispatches", async () => {
    const more = family.moreDispatches?.(config) ?? { layer: 0, other: 0 };
    const { head } = family.dispatches;
    const sparse = family.experts?.(config)?.layers.length ?? 0;
    const layer = family.dispatches.layer + more.layer;
    const other = family.dispatches.other + more.other + (more.sparse ?? 0) * sparse;
    const short = await draw(family, config, 64);
    expect([short.forward, short.head]).toEqual([layer * config.layers + other, head]);
    // A long cache is split, and its parts are merged: one more, but for latents, which the next layer merges. Sandwich norms
    // may take ten, LayerNorm stands alone.
    const long = await draw(family, config, Infinity);
    const sandwich = /gemma[23]|olmo2/.test(row);
    const merge = family.cacheSpec(config).kind === "latent" ? 0 : 1;
    expect(long.forward - other).toBeGreaterThanOrEqual(layer * config.layers);
    expect(long.forward - other).toBeLessThanOrEqual((layer + merge) * config.layers);
    const most = layer + merge + (sparse > 0 ? (more.sparse ?? 0) : 0);
    expect(most).toBeLessThanOrEqual(sparse > 0 ? 11 : sandwich ? 10 : head === 2 ? 9 : 8);
  });
});

/** Draws a decode step on a device that computes nothing, and counts. */
async function draw(
  family: ReturnType<typeof findFamily>["family"],
  config: ModelConfig,
  maxLength: number,
): Promise<{ forward: number; head: number }> {
  const limits = {
    rows: 4,
    slots: 4,
    samples: 4,
    pagesPerSequence: maxLength === Infinity ? 64 : 2,
    vocabSize: config.vocabSize,
  };
  const batch = await createBatch(gpu!.arena, limits);
  const buffer = await gpu!.arena.allocate("weights", "all", 1 << 16, Usage.storage);
  const range = { buffer, offset: 0, size: buffer.size };
  const table = family.weightTable(config);
  const spec = family.cacheSpec(config);
  const experts = family.experts?.(config);
  const pools = Array.from({ length: spec.layers }, () => ({ pool: range, valueOffset: 0 }));
  const model: Resident<ModelConfig> = {
    config,
    weights: {
      linear(role): Linear {
        const { inFeatures, outFeatures, bias } = table.get(role) as LinearSpec;
        const parts = [{ weights: range, rowStart: 0, rowCount: outFeatures }];
        return { name: role, inFeatures, outFeatures, layout: "f32", parts, ...(bias && { bias: range }) };
      },
      vector(role) {
        expect([role, table.get(role)?.kind]).toEqual([role, "vector"]);
        return range;
      },
    },
    ropes: family.ropes(config, 64).map(({ dim }) => ({ dim, near: range, far: range })),
    cache: { ...spec, format: "f32", pageSize: 32, layers: pools },
    experts: new Map(experts?.layers.map((i) => [i, { slots: range, counts: range }])),
  };
  const graph = new Graph(new Pipelines(gpu!.device), batch, 1, 1, PORTABLE, maxLength);
  const hidden = family.forward(graph, model);
  expect([hidden.extent, hidden.width]).toEqual(["rows", config.hiddenSize]);
  const forward = graph.ops.length;
  const logits = family.head(graph, model, hidden);
  expect([logits.extent, logits.width]).toEqual(["samples", config.vocabSize]);
  return { forward, head: graph.ops.length - forward };
}

/** Placements cover rows 0 … out − 1 once each; a bias stands with its weight's rows. */
function expectWhole(spec: LinearSpec): void {
  const covered = spec.tensors.flatMap(({ rows, firstRow, rowStep }) =>
    Array.from({ length: rows }, (_, i) => firstRow + i * rowStep),
  );
  expect(covered.sort((a, b) => a - b)).toEqual(Array.from({ length: spec.outFeatures }, (_, i) => i));
  const where = ({ tensor, ...place }: TensorPlacement): unknown => ({ ...place, of: tensor.replace(/\.\w+$/, "") });
  const places = spec.tensors.map(where);
  for (const b of spec.bias ?? []) expect(places).toContainEqual(where(b));
}
