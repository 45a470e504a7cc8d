import { describe, expect, it } from "vitest";
import * as errors from "../../src/base/errors.ts";

const every: readonly errors.TesseraError[] = [
  new errors.ArgumentError("maxTokens is -1. Give a positive integer."),
  new errors.UnsupportedError("embeddings are not built in."),
  new errors.UnsupportedModelError("mamba", ["llama", "other"]),
  new errors.ConfigError("head_dim", "is missing"),
  new errors.SourceError("config.json", "is not there."),
  new errors.SafetensorsError("model.safetensors", "has a hole."),
  new errors.WeightsError("model.norm.weight", "is missing."),
  new errors.TokenizerError("tokenizer.json is absent."),
  new errors.TemplateError("the template took too long."),
  new errors.ContextLengthError(300, 256),
  new errors.TooLargeError("Logits of all rows", 5e9, "Ask for fewer rows."),
  new errors.AbortError("Loading", "stop"),
  new errors.NoAdapterError("no GPU."),
  new errors.DeviceLostError("unknown", ""),
  new errors.GpuError("shader error"),
  new errors.OutOfMemoryError("kv pages", 2000, 1000),
  new errors.DisposedError(),
  new errors.WorkerError("the worker ended. Load the model again."),
  new errors.SessionError("model", "it was saved by another model"),
];

describe("errors", () => {
  it("are all TesseraErrors with a code, a name and a message of their own", () => {
    const classes = Object.values(errors).filter((e) => e !== errors.TesseraError);
    expect(every.map((e) => e.constructor).sort(byName)).toEqual([...classes].sort(byName));
    for (const error of every) {
      expect(error).toBeInstanceOf(errors.TesseraError);
      expect(error).toBeInstanceOf(Error);
      expect(error.name).toBe(error.constructor.name);
      expect(error.message).not.toMatch(/undefined|null|NaN|\[object/);
    }
    expect(new Set(every.map((e) => e.code)).size).toBe(every.length);
  });

  it("carry the facts as fields, and the cause", () => {
    expect(new errors.UnsupportedModelError("x", ["llama"])).toMatchObject({ modelType: "x", supported: ["llama"] });
    expect(new errors.ContextLengthError(300, 256)).toMatchObject({ tokens: 300, limit: 256 });
    expect(new errors.OutOfMemoryError("x", 2, 1)).toMatchObject({ needed: 2, available: 1 });
    expect(new errors.OutOfMemoryError("x", 2).message).not.toMatch(/available/);
    const cause = new Error("below");
    expect(new errors.SourceError("a", "b", { cause }).cause).toBe(cause);
    expect(new errors.AbortError("Loading", cause).cause).toBe(cause);
  });
});

function byName(a: { name: string }, b: { name: string }): number {
  return a.name < b.name ? -1 : 1;
}
