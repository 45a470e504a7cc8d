import { mkdtemp, rm, stat, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { madeTensors } from "../../src/bench/made.ts";
import { readArgs } from "../../src/cli/args.ts";
import { describe as describeForPeople, dtypesOf, reportOf } from "../../src/cli/inspect.ts";
import { inspectCheckpoint } from "../../src/engine/inspect.ts";
import { findFamily } from "../../src/models/index.ts";
import { ArgumentError, SourceError, UnsupportedModelError } from "../../src/index.ts";
import { fixtureSource, readFixtureJson } from "../support/fixtures.ts";

const EMBEDDED = "demo/public/model";

describe("inspecting the embedded checkpoint", () => {
  const source = fixtureSource(EMBEDDED);

  it("counts what its config.json implies", async () => {
    const c = await readFixtureJson<Record<string, number>>(`${EMBEDDED}/config.json`);
    const [d, layers, f, v] = [c.hidden_size!, c.num_hidden_layers!, c.intermediate_size!, c.vocab_size!];
    const [heads, kvHeads, headDim] = [c.num_attention_heads!, c.num_key_value_heads!, c.head_dim!];
    const multiplied = layers * (2 * d * heads * headDim + 2 * d * kvHeads * headDim + 3 * d * f) + v * d; // tied head
    const { info, attention } = await inspectCheckpoint(source);
    expect(attention).toEqual({ heads, kvHeads, headDim });
    expect(info).toMatchObject({
      modelType: "llama",
      layers,
      hiddenSize: d,
      vocabSize: v,
      parameters: multiplied + (2 * layers + 1) * d,
      activeParameters: multiplied + (2 * layers + 1) * d,
      flopsPerToken: 2 * multiplied,
      kvBytesPerToken: 2 * layers * kvHeads * headDim * 2,
      kv: "f16",
      contextTokens: c.max_position_embeddings,
      trainedContextTokens: c.max_position_embeddings,
      weights: { format: "bf16", reason: "as published" },
      tokenizer: true,
      bosId: c.bos_token_id,
      eosIds: [c.eos_token_id],
    });
  });

  it("names the files and their sizes", async () => {
    const { info, files, tensors } = await inspectCheckpoint(source);
    const names = [
      "config.json",
      "generation_config.json",
      "model.safetensors",
      "tokenizer.json",
      "tokenizer_config.json",
    ];
    expect(files.map((file) => file.name)).toEqual(expect.arrayContaining(names));
    for (const { name, bytes } of files) expect(bytes).toBe((await stat(join(source, name))).size);
    expect(new Set(tensors.map((tensor) => tensor.file))).toEqual(new Set(["model.safetensors"]));
    expect(tensors.find((tensor) => tensor.name === "model.norm.weight")).toMatchObject({
      dtype: "BF16",
      shape: [info.hiddenSize],
    });
  });

  it("follows the options", async () => {
    const { info } = await inspectCheckpoint(source, { weights: "f32", contextTokens: 64 });
    expect(info).toMatchObject({ kv: "f32", contextTokens: 64, weights: { format: "f32", reason: "as asked for" } });
    expect((await inspectCheckpoint(source, { weights: "f32", kv: "f16" })).info.kv).toBe("f16");
  });
});

describe("inspecting for a budget", () => {
  it("tells what weights: auto would take, and why", async () => {
    const invocation = readArgs(["inspect", "--model", EMBEDDED, "--weights", "auto", "--memory", "40000000"]);
    if (invocation.command !== "inspect") throw new Error("not read as inspect");
    expect(invocation.load).toEqual({ weights: "auto", memoryBytes: 40_000_000 });
    const inspection = await inspectCheckpoint(fixtureSource(EMBEDDED), invocation.load);
    expect(inspection.info.weights.format).toBe("bf16");
    expect(describeForPeople(inspection, false)).toMatch(
      /^weights +bf16 \(as published, the most bits that fit the 40\.0 MB of memoryBytes, .*q4 [\d.]+ MB\), 2\.4\d? MB on the GPU$/m,
    );
  });
});

describe("what inspect prints", () => {
  it("has every fact, and tensors when asked", async () => {
    const inspection = await inspectCheckpoint(fixtureSource("tests/fixtures/llama/bias-f16"));
    const report = reportOf(inspection, false);
    expect(report).toMatchObject({ ...inspection.info, ...inspection.attention, files: inspection.files });
    expect(report).not.toHaveProperty("tensors");
    expect(reportOf(inspection, true)).toHaveProperty("tensors", inspection.tensors);
    const lines = describeForPeople(inspection, true).trimEnd().split("\n");
    expect(lines.filter((line) => / F16 \[[\d, ]+\] in model\.safetensors$/.test(line))).toHaveLength(
      inspection.tensors.length,
    );
    expect(lines.join("\n")).toMatch(/^tokenizer +no/m);
    expect(lines.length - inspection.tensors.length).toBe(
      describeForPeople(inspection, false).trimEnd().split("\n").length,
    );
  });

  it("sums tensors by dtype, the most bytes first", async () => {
    const inspection = await inspectCheckpoint(fixtureSource("tests/fixtures/llama/untied-f32"));
    const tensor = { name: "x", dtype: "BF16", shape: [3], bytes: 6, file: "f" };
    const sums = dtypesOf({ ...inspection, tensors: [tensor, ...inspection.tensors, tensor] });
    const total = inspection.tensors.reduce((sum, { bytes }) => sum + bytes, 0);
    expect(sums).toEqual([
      { dtype: "F32", tensors: inspection.tensors.length, bytes: total },
      { dtype: "BF16", tensors: 2, bytes: 12 },
    ]);
  });
});

describe("inspecting what cannot be loaded", () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "tessera-inspect-"));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it("is the error that loading would be", async () => {
    const embedded = fixtureSource(EMBEDDED);
    await expect(inspectCheckpoint(folder)).rejects.toThrow(SourceError);
    await writeFile(join(folder, "config.json"), '{"model_type": "nonesuch"}');
    await expect(inspectCheckpoint(folder)).rejects.toThrow(UnsupportedModelError);
    await writeFile(join(folder, "config.json"), "{");
    await expect(inspectCheckpoint(folder)).rejects.toThrow(/config\.json: is not JSON/);
    await expect(inspectCheckpoint(embedded, { contextTokens: 1e6 })).rejects.toThrow(ArgumentError);
  });
});

describe("inspecting a model with latent attention and experts", () => {
  const heads = 128;
  const config = {
    model_type: "deepseek_v3",
    hidden_size: 64,
    intermediate_size: 64,
    moe_intermediate_size: 16,
    num_hidden_layers: 2,
    num_attention_heads: heads,
    num_key_value_heads: heads,
    qk_nope_head_dim: 128,
    qk_rope_head_dim: 64,
    v_head_dim: 128,
    kv_lora_rank: 512,
    q_lora_rank: 32,
    first_k_dense_replace: 1,
    n_routed_experts: 16,
    n_shared_experts: 1,
    num_experts_per_tok: 3,
    n_group: 4,
    topk_group: 2,
    vocab_size: 160,
    max_position_embeddings: 128,
    num_nextn_predict_layers: 1,
  };
  let folder: string;

  // A header, and a hole for the weights.
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "tessera-latent-"));
    const { family, json } = findFamily(config);
    let end = 0;
    const entries = madeTensors(family.weightTable(family.parseConfig(json))).map(({ name, shape }) => {
      const begin = end;
      end += 2 * shape.reduce((a, b) => a * b, 1);
      return [name, { dtype: "BF16", shape, data_offsets: [begin, end] }];
    });
    const header = Buffer.from(JSON.stringify(Object.fromEntries(entries)));
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(header.length));
    await writeFile(join(folder, "model.safetensors"), Buffer.concat([length, header]));
    await truncate(join(folder, "model.safetensors"), 8 + header.length + end);
    await writeFile(join(folder, "config.json"), JSON.stringify(config));
  });
  afterAll(() => rm(folder, { recursive: true }));

  it("shows a cache more than 90 % smaller than one of every head's keys and values", async () => {
    const inspection = await inspectCheckpoint(folder);
    const { info, attention } = inspection;
    expect(info.kvBytesPerToken).toBe(2 * (512 + 64) * 2);
    expect(attention).toEqual({ heads, kvHeads: 1, headDim: 576, expandedKvBytesPerToken: 2 * heads * 320 * 2 });
    expect(info.kvBytesPerToken).toBeLessThan(0.1 * attention.expandedKvBytesPerToken!);
    expect(describeForPeople(inspection, false)).toContain("98.6 % less than the");
  });

  it("counts the experts of one token as active, and none of the modules behind the model", async () => {
    const { info } = await inspectCheckpoint(folder);
    const attention = 64 * (32 + 576) + 32 * heads * 192 + 512 * heads * 256 + heads * 128 * 64;
    const expert = 3 * 64 * 16;
    const multiplied = 2 * attention + 3 * 64 * 64 + (3 + 1) * expert + 16 * 64 + 160 * 64;
    expect(info.flopsPerToken).toBe(2 * multiplied);
    const predictor = attention + (16 + 1) * expert + 16 * 64 + 2 * 64 * 64;
    expect(info.parameters).toBeGreaterThan(multiplied + predictor + 12 * expert);
    expect(info.activeParameters - multiplied).toBeLessThan(3000); // norms, and one row of the embedding
  });

  it("refuses a cache in 8 bits", async () => {
    await expect(inspectCheckpoint(folder, { kv: "int8" })).rejects.toThrow(/"int8" is not there for latent attention/);
  });
});
