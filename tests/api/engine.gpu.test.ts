/** The public surface, as a user has it. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import * as tessera from "../../src/index.ts";
import { fixtureSource, readBytes, readFixtureJson } from "../support/fixtures.ts";

const MODEL = "demo/public/model";
const { Engine, UnsupportedError } = tessera;

describe("Engine", () => {
  let engine: tessera.Engine;
  const progress: tessera.LoadProgress[] = [];
  beforeAll(async () => {
    engine = await Engine.load(fixtureSource(MODEL), { onProgress: (p) => progress.push(p) });
  });
  afterAll(() => engine.dispose());

  it("tells how loading goes: every stage, bytes that only grow up to the total", () => {
    const stages = [...new Set(progress.map((p) => p.stage))];
    expect(stages).toEqual(expect.arrayContaining(["config", "tokenizer", "pipelines", "weights", "ready"]));
    expect(progress.at(-1)!.stage).toBe("ready");
    const weights = progress.filter((p) => p.stage === "weights");
    for (let i = 1; i < weights.length; i++) expect(weights[i]!.loaded).toBeGreaterThan(weights[i - 1]!.loaded);
    expect(weights.at(-1)!.loaded).toBe(weights.at(-1)!.total);
  });

  it("says what was loaded", async () => {
    const config = await readFixtureJson<Record<string, number>>(`${MODEL}/config.json`);
    const { model } = engine;
    expect(model).toMatchObject({
      modelType: "llama",
      layers: config["num_hidden_layers"],
      vocabSize: config["vocab_size"],
      contextTokens: config["max_position_embeddings"],
      weights: { format: "bf16", reason: "as published" },
      kv: "f16",
      tokenizer: true,
    });
    expect(model.kvBytesPerToken).toBe(
      2 * config["num_hidden_layers"]! * config["num_key_value_heads"]! * config["head_dim"]! * 2,
    );
    expect(model.flopsPerToken).toBeGreaterThan(1.8 * model.parameters);
    expect(model.activeParameters).toBe(model.parameters); // dense, and the tied table is the head
  });

  it("streams text that grows, and cancels when the loop is left", async () => {
    const generation = engine.generate("Once upon a time", { temperature: 0, maxTokens: 60 });
    let text = "";
    let deltas = 0;
    for await (const delta of generation) {
      text += delta.text;
      if (++deltas === 10) break;
    }
    expect(text.length).toBeGreaterThan(10);
    expect((await generation.result).finishReason).toBe("abort");
    expect(engine.stats().pages.used).toBe(0);
  });

  it("encodes with the tokenizer's own tokens, and decodes", async () => {
    const ids = await engine.encode("The cat sat.");
    expect(ids[0]).toBe(engine.model.bosId);
    expect(await engine.decode(ids)).toBe("The cat sat.");
    expect(await engine.encode("The cat sat.", { specialTokens: false })).toEqual(ids.slice(1));
  });

  it("loads File objects, in a folder or not, as dropped on a page", async () => {
    const names = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"];
    const files = await Promise.all(
      names.map(async (name) => new File([(await readBytes(fixtureSource(`${MODEL}/${name}`))) as BlobPart], name)),
    );
    const dropped = await Engine.load(files);
    const ids = [0, 5, 9];
    const run = (e: tessera.Engine) => e.generate(ids, { temperature: 0, maxTokens: 8 }).result;
    expect((await run(dropped)).ids).toEqual((await run(engine)).ids);
    await dropped.dispose();
  });

  it("converts weights while loading, exactly where the format holds them", async () => {
    const wide = await Engine.load(fixtureSource(MODEL), { weights: "f32", kv: "f16" });
    expect(wide.model.weights).toMatchObject({ format: "f32", reason: "as asked for" });
    const ids = [0, 30, 77, 41];
    expect(await wide.logits(ids)).toEqual(await engine.logits(ids));
    await wide.dispose();
    const half = await Engine.load(fixtureSource(MODEL), { weights: "f16" });
    const [a, b] = [await half.logits(ids), await engine.logits(ids)];
    expect(a.reduce((worst, x, i) => Math.max(worst, Math.abs(x - b[i]!)), 0)).toBeLessThan(0.05);
    await half.dispose();
  });

  it("refuses options that it would have to ignore, by name", async () => {
    const unknown = { tools: [] } as tessera.GenerateOptions;
    await expect(engine.generate("x", unknown).result).rejects.toThrow(/"tools" is not supported/);
    await expect(Engine.load("./x", { quality: 5 } as tessera.LoadOptions)).rejects.toBeInstanceOf(UnsupportedError);
    await expect(engine.logits([1], { row: "all" } as never)).rejects.toBeInstanceOf(UnsupportedError);
  });
});
