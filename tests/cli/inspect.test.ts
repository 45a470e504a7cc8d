import { mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { describe as describeForPeople, dtypesOf, reportOf } from "../../src/cli/inspect.ts";
import { inspectCheckpoint } from "../../src/engine/inspect.ts";
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
