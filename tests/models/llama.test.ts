import { describe, expect, it } from "vitest";
import type { LinearSpec } from "../../src/models/family.ts";
import { llama } from "../../src/models/llama.ts";

const MINIMAL = {
  model_type: "llama",
  hidden_size: 64,
  intermediate_size: 172,
  num_hidden_layers: 2,
  num_attention_heads: 8,
  vocab_size: 512,
};

describe("llama", () => {
  it("fills in what transformers fills in", () => {
    expect(llama.parseConfig(MINIMAL)).toEqual({
      modelType: "llama",
      layers: 2,
      hiddenSize: 64,
      vocabSize: 512,
      contextTokens: 2048,
      bosId: null,
      eosIds: [],
      heads: 8,
      kvHeads: 8,
      headDim: 8,
      intermediateSize: 172,
      normEps: 1e-6,
      normOffset: 0,
      gate: "silu",
      tied: false,
      biases: { qkv: false, out: false, mlp: false },
      qkNorm: "none",
      ropes: [{ theta: 10000, dim: 8, scaling: { type: "default" } }],
      attention: [{ rope: 0 }, { rope: 0 }],
      scales: { embed: 1, attention: 8 ** -0.5, residual: 1, logits: 1 },
      softCaps: {},
      sinks: false,
      mixture: null,
    });
  });

  it("reads ids one by one or in a list, and 0 as an id", () => {
    const ids = ({ bos, eos }: { bos: unknown; eos: unknown }): unknown => {
      const config = llama.parseConfig({ ...MINIMAL, bos_token_id: bos, eos_token_id: eos });
      return [config.bosId, config.eosIds];
    };
    expect(ids({ bos: 0, eos: 0 })).toEqual([0, [0]]);
    expect(ids({ bos: null, eos: [5, 511] })).toEqual([null, [5, 511]]);
  });

  it("refuses a width that its heads do not divide into whole, narrow heads", () => {
    expect(() => llama.parseConfig({ ...MINIMAL, num_attention_heads: 3 })).toThrow(
      "config.json: num_attention_heads: 3 heads",
    );
    expect(() => llama.parseConfig({ ...MINIMAL, hidden_size: 1024, num_attention_heads: 1 })).toThrow(
      "config.json: head_dim: 1024 is not an integer from 1 to 512",
    );
  });

  const specOf = (role: string, more: object = {}): LinearSpec =>
    llama.weightTable(llama.parseConfig({ ...MINIMAL, num_key_value_heads: 2, ...more })).get(role) as LinearSpec;

  it("stacks queries, keys and values, and takes gate and up in turn", () => {
    expect(specOf("1.qkv").tensors).toEqual([
      { tensor: "model.layers.1.self_attn.q_proj.weight", rows: 64, firstRow: 0, rowStep: 1 },
      { tensor: "model.layers.1.self_attn.k_proj.weight", rows: 16, firstRow: 64, rowStep: 1 },
      { tensor: "model.layers.1.self_attn.v_proj.weight", rows: 16, firstRow: 80, rowStep: 1 },
    ]);
    expect(specOf("0.gate_up").tensors).toEqual([
      { tensor: "model.layers.0.mlp.gate_proj.weight", rows: 172, firstRow: 0, rowStep: 2 },
      { tensor: "model.layers.0.mlp.up_proj.weight", rows: 172, firstRow: 1, rowStep: 2 },
    ]);
  });

  it("has biases where the config says so", () => {
    expect(specOf("0.qkv").bias).toBeUndefined();
    expect(specOf("0.qkv", { attention_bias: true }).bias?.map((b) => b.tensor)).toEqual(
      ["q_proj", "k_proj", "v_proj"].map((name) => `model.layers.0.self_attn.${name}.bias`),
    );
    expect(specOf("0.o", { attention_bias: true }).bias).toHaveLength(1);
    expect(specOf("0.down", { attention_bias: true }).bias).toBeUndefined();
    expect(specOf("0.gate_up", { mlp_bias: true }).bias?.map((b) => b.rowStep)).toEqual([2, 2]);
    expect(specOf("head", { attention_bias: true, mlp_bias: true }).bias).toBeUndefined();
  });

  it("uses the embedding as the head where they are tied, and only gathers from it where they are not", () => {
    expect(specOf("head", { tie_word_embeddings: true })).toBeUndefined();
    expect(specOf("embed", { tie_word_embeddings: true }).gatherOnly).toBe(false);
    expect(specOf("embed").gatherOnly).toBe(true);
    expect(specOf("head").tensors[0]!.tensor).toBe("lm_head.weight");
  });
});
