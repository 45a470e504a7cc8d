import { expect, it } from "vitest";
import { inspectCheckpoint } from "../../src/engine/inspect.ts";
import { loadEngine, type LoadOptions } from "../../src/engine/load.ts";
import { fixtureSource } from "../support/fixtures.ts";

/** What is computed from headers is what loading really makes. */
it.each<[folder: string, options: LoadOptions]>([
  ["demo/public/model", {}],
  ["demo/public/model", { weights: "f32", kv: "f16", contextTokens: 100 }],
  ["tests/fixtures/llama/untied-f32", { weights: "f16" }],
  ["tests/fixtures/llama/bias-f16", {}],
  ["tests/fixtures/llama/odd-bf16", { weights: "auto" }],
])("%s with %j is as inspected", async (folder, options) => {
  const { info } = await inspectCheckpoint(fixtureSource(folder), options);
  const engine = await loadEngine(fixtureSource(folder), options);
  await engine.dispose();
  expect(engine.info).toEqual(info);
});
