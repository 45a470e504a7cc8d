/** What every family in models/ has to hold; a new one adds a row to TABLE. */
import { afterAll, describe, expect, it } from "vitest";
import { ConfigError } from "../../src/base/errors.ts";
import { Usage } from "../../src/gpu/arena.ts";
import { createBatch } from "../../src/kernels/batch.ts";
import { Pipelines } from "../../src/kernels/define.ts";
import { Graph } from "../../src/kernels/graph.ts";
import type { Linear } from "../../src/kernels/linear.ts";
import type { LinearSpec, Resident, WeightTable } from "../../src/models/family.ts";
import { findFamily, supportedModelTypes } from "../../src/models/index.ts";
import { openNullGpu } from "../support/null-gpu.ts";

interface Row {
  /** A config.json that the family runs, every checked field given. */
  json: Record<string, unknown>;
  /** Published tensors of one layer and of all else: [name, shape]. */
  layer: Record<string, number[]>;
  other: Record<string, number[]>;
  /** Of the config above. */
  parameters: number;
  /** Fields that may not be absent. */
  required: readonly string[];
  /** Values that would be run wrongly, each to be refused by the field's name. */
  refused: readonly [field: string, value: unknown][];
}

const LLAMA: Row = {
  json: {
    model_type: "llama",
    hidden_size: 24,
    intermediate_size: 60,
    num_hidden_layers: 3,
    num_attention_heads: 6,
    num_key_value_heads: 2,
    head_dim: 8,
    vocab_size: 100,
    max_position_embeddings: 64,
    hidden_act: "silu",
    rms_norm_eps: 1e-5,
    rope_theta: 10000,
    tie_word_embeddings: false,
    attention_bias: false,
    mlp_bias: false,
    bos_token_id: 1,
    eos_token_id: [2, 3],
  },
  layer: {
    "input_layernorm.weight": [24],
    "self_attn.q_proj.weight": [48, 24],
    "self_attn.k_proj.weight": [16, 24],
    "self_attn.v_proj.weight": [16, 24],
    "self_attn.o_proj.weight": [24, 48],
    "post_attention_layernorm.weight": [24],
    "mlp.gate_proj.weight": [60, 24],
    "mlp.up_proj.weight": [60, 24],
    "mlp.down_proj.weight": [24, 60],
  },
  other: { "model.embed_tokens.weight": [100, 24], "model.norm.weight": [24], "lm_head.weight": [100, 24] },
  parameters: 2 * 2400 + 24 + 3 * (2 * 24 + 80 * 24 + 24 * 48 + 3 * 60 * 24),
  required: ["hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size"],
  refused: [
    ["hidden_act", "gelu"],
    ["quantization_config", { quant_method: "gptq" }],
    ["num_key_value_heads", 4],
    ["hidden_size", 26],
    ["hidden_size", "24"],
    ["intermediate_size", 61],
    ["head_dim", 6],
    ["head_dim", 516],
    ["num_hidden_layers", 0],
    ["num_attention_heads", 1.5],
    ["vocab_size", -1],
    ["rms_norm_eps", 0],
    ["max_position_embeddings", "long"],
    ["bos_token_id", 100],
    ["eos_token_id", [2, 1.5]],
    ["attention_bias", "yes"],
    ["tie_word_embeddings", 1],
    ["rope_scaling", { rope_type: "llama3", factor: 8 }],
    ["partial_rotary_factor", 0.5],
  ],
};

const TABLE: Row[] = [LLAMA];

const gpu = await openNullGpu();
afterAll(() => {
  gpu?.device.destroy();
});

function tableOf(json: Record<string, unknown>): WeightTable {
  const { family } = findFamily(json);
  return family.weightTable(family.parseConfig(json));
}

/** Every published tensor of a weight table, with the shape it asks for. */
function tensors(table: WeightTable): Record<string, number[]> {
  const shapes: Record<string, number[]> = {};
  const note = (name: string, shape: number[]): void => {
    expect([name, shapes[name] ?? shape]).toEqual([name, shape]);
    shapes[name] = shape;
  };
  for (const spec of table.values()) {
    if (spec.kind === "vector") note(spec.tensor, [spec.width]);
    else {
      for (const { tensor, rows } of spec.tensors) note(tensor, [rows, spec.inFeatures]);
      for (const { tensor, rows } of spec.bias ?? []) note(tensor, [rows]);
    }
  }
  return shapes;
}

it("covers every supported model_type", () => {
  expect(TABLE.map((row) => row.json["model_type"])).toEqual(supportedModelTypes);
});

describe.each(TABLE.map((row) => [row.json["model_type"] as string, row] as const))("%s", (_, row) => {
  const { family } = findFamily(row.json);
  const config = family.parseConfig(row.json);
  const layers = row.json["num_hidden_layers"] as number;

  it.each(row.required)("needs %s", (field) => {
    const { [field]: __, ...rest } = row.json;
    expect(() => family.parseConfig(rest)).toThrow(`config.json: ${field}: `);
  });

  it.each(row.refused)("refuses %s = %o by its name", (field, value) => {
    const parse = (): unknown => family.parseConfig({ ...row.json, [field]: value });
    expect(parse).toThrow(ConfigError);
    expect(parse).toThrow(`config.json: ${field}`);
  });

  it("asks for the tensors of the published checkpoint, in their shapes", () => {
    const expected = { ...row.other };
    for (let i = 0; i < layers; i++) {
      for (const [name, shape] of Object.entries(row.layer)) expected[`model.layers.${i}.${name}`] = shape;
    }
    const found = tensors(tableOf(row.json));
    expect(found).toEqual(expected);
    const parameters = Object.values(found).reduce((n, shape) => n + shape.reduce((a, b) => a * b), 0);
    expect(parameters).toBe(row.parameters);
  });

  it("gives each row of every resident matrix to one published row", () => {
    const biased = { ...row.json, attention_bias: true, mlp_bias: true };
    for (const spec of [...tableOf(row.json).values(), ...tableOf(biased).values()]) {
      if (spec.kind === "linear") expectWhole(spec);
    }
  });

  it("has a cache of the model's heads", () => {
    expect(family.cacheSpec(config).layers).toBe(layers);
    expect(family.rope(config, 64).inverseFrequencies.length * 2).toBe(family.rope(config, 64).dim);
  });

  it.skipIf(gpu === null)("keeps to its dispatches", async () => {
    const { layer, other } = family.dispatches;
    expect(layer).toBeLessThanOrEqual(8);
    const limits = { rows: 4, slots: 4, samples: 4, pagesPerSequence: 2, vocabSize: config.vocabSize };
    const batch = await createBatch(gpu!.arena, limits);
    const buffer = await gpu!.arena.allocate("weights", "all", 1 << 16, Usage.storage);
    const range = { buffer, offset: 0, size: buffer.size };
    const table = family.weightTable(config);
    const { heads, headDim } = family.cacheSpec(config);
    const model: Resident<typeof config> = {
      config,
      weights: {
        linear(role): Linear {
          const { inFeatures, outFeatures } = table.get(role) as LinearSpec;
          const parts = [{ weights: range, rowStart: 0, rowCount: outFeatures }];
          return { name: role, inFeatures, outFeatures, layout: "f32", parts };
        },
        vector: () => range,
      },
      rope: { dim: family.rope(config, 64).dim, near: range, far: range },
      cache: {
        kind: "kv",
        format: "f32",
        pageSize: 32,
        heads,
        headDim,
        layers: Array.from({ length: layers }, () => ({ pool: range, valueOffset: 0 })),
      },
    };
    const graph = new Graph(new Pipelines(gpu!.device), batch, 1, 1);
    const hidden = family.forward(graph, model);
    expect([hidden.extent, hidden.width]).toEqual(["rows", config.hiddenSize]);
    expect(graph.ops.length).toBe(layer * layers + other);
    const logits = family.head(graph, model, hidden);
    expect([logits.extent, logits.width]).toEqual(["samples", config.vocabSize]);
    expect(graph.ops.length).toBe(layer * layers + other + 1);
  });
});

/** Placements cover rows 0 … out − 1 once each, biases as the weights do. */
function expectWhole(spec: LinearSpec): void {
  for (const placements of [spec.tensors, ...(spec.bias ? [spec.bias] : [])]) {
    const covered = placements.flatMap(({ rows, firstRow, rowStep }) =>
      Array.from({ length: rows }, (_, i) => firstRow + i * rowStep),
    );
    expect(covered.sort((a, b) => a - b)).toEqual(Array.from({ length: spec.outFeatures }, (_, i) => i));
  }
  const where = (list: LinearSpec["tensors"]): unknown =>
    list.map(({ rows, firstRow, rowStep }) => [rows, firstRow, rowStep]);
  if (spec.bias) expect(where(spec.bias)).toEqual(where(spec.tensors));
}
