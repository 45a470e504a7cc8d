import { describe, expect, it } from "vitest";
import * as errors from "../../src/base/errors.ts";
import { decodeError, encodeError } from "../../src/worker/errors.ts";

const cause = new TypeError("the wire broke");
const samples: errors.TesseraError[] = [
  new errors.ArgumentError("no such thing"),
  new errors.UnsupportedError("not yet"),
  new errors.UnsupportedModelError("mamba", ["llama", "qwen3"]),
  new errors.ConfigError("hidden_size", "is -1"),
  new errors.SourceError("model.safetensors", "HTTP 404", { cause }),
  new errors.SafetensorsError("model.safetensors", "a hole", { cause }),
  new errors.WeightsError("model.norm.weight", "has shape [1]"),
  new errors.TokenizerError("unknown type", { cause }),
  new errors.TemplateError("too many loops", { cause }),
  new errors.ContextLengthError(513, 512),
  new errors.TooLargeError("The logits", 2 ** 40, "Ask for fewer rows."),
  new errors.AbortError("Loading", new Error("changed my mind")),
  new errors.NoAdapterError("no WebGPU"),
  new errors.DeviceLostError("unknown", "driver reset"),
  new errors.GpuError("binding 0", { cause }),
  new errors.OutOfMemoryError("The cache", 1e9, 1e6),
  new errors.OutOfMemoryError("The cache", 1e9),
  new errors.DisposedError(),
  new errors.SessionError("corrupt", "its checksum is wrong", undefined, { cause }),
  new errors.WorkerError("it threw", { cause }),
];

/** There and back, as postMessage does it. */
function cross(thrown: unknown): Error & { cause?: unknown } {
  return decodeError(structuredClone(encodeError(thrown)));
}

describe("an error of ours that crosses a thread", () => {
  it("has a sample here for every class", () => {
    const classes = Object.values(errors).filter((made) => made !== errors.TesseraError);
    expect(new Set(samples.map((sample) => sample.constructor))).toEqual(new Set(classes));
  });

  it.each(samples.map((sample) => [sample.name, sample] as const))("is a %s again", (_, sample) => {
    const crossed = cross(sample);
    expect(crossed).toBeInstanceOf(sample.constructor);
    expect(crossed.constructor).toBe(sample.constructor);
    expect(crossed).toBeInstanceOf(errors.TesseraError);
    expect(crossed.message).toBe(sample.message);
    expect({ ...crossed }).toStrictEqual({ ...sample }); // name, code, and the fields of its class
    expect(crossed.stack).toBe(sample.stack);
    expect(Object.keys(crossed)).not.toContain("cause");
    const { cause } = sample as { cause?: Error };
    expect((crossed.cause as Error | undefined)?.message).toBe(cause?.message);
  });

  it("keeps what it can of a class that a minifier renamed", () => {
    class e extends errors.SourceError {}
    const crossed = cross(new e("config.json", "cut"));
    expect(crossed).toBeInstanceOf(errors.SourceError);
    expect(crossed).toMatchObject({ code: "source", file: "config.json" });
  });
});

describe("any other error", () => {
  it("becomes a plain Error of its name", () => {
    const crossed = cross(new RangeError("Array buffer allocation failed"));
    expect(Object.getPrototypeOf(crossed)).toBe(Error.prototype);
    expect(crossed).not.toBeInstanceOf(errors.TesseraError);
    expect([crossed.name, crossed.message]).toEqual(["RangeError", "Array buffer allocation failed"]);
  });

  it("keeps the name of a DOMException", () => {
    expect(cross(new DOMException("gone", "NotReadableError"))).toMatchObject({
      name: "NotReadableError",
      message: "gone",
    });
  });

  it("is made of what was thrown instead", () => {
    expect(cross("just text")).toMatchObject({ name: "Error", message: "just text" });
    expect(cross(undefined)).toMatchObject({ name: "Error", message: "undefined" });
  });
});

describe("what cannot be cloned", () => {
  it("is left out of the fields", () => {
    const error = Object.assign(new errors.GpuError("lost"), { device: () => 1, at: 3 });
    const crossed = cross(error);
    expect(crossed).toBeInstanceOf(errors.GpuError);
    expect(crossed).toMatchObject({ at: 3 });
    expect(crossed).not.toHaveProperty("device");
  });

  it("is left out as a cause, and other values are kept", () => {
    expect(cross(new errors.AbortError("Loading", () => 1)).cause).toBeUndefined();
    expect(cross(new errors.AbortError("Loading", { why: "closed" })).cause).toEqual({ why: "closed" });
  });

  it("does not go round a circle of causes", () => {
    const first = new Error("first");
    first.cause = new Error("second", { cause: first });
    expect((cross(first).cause as Error).message).toBe("second");
  });

  it("keeps the classes of causes", () => {
    const crossed = cross(new Error("outer", { cause: new errors.DisposedError() }));
    expect(crossed.cause).toBeInstanceOf(errors.DisposedError);
  });
});
