/** Wrong files, aborts, lost devices and failed allocations: each its own error, and nothing left allocated. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import {
  AbortError,
  ConfigError,
  ContextLengthError,
  DeviceLostError,
  OutOfMemoryError,
  SafetensorsError,
  SourceError,
  TokenizerError,
  UnsupportedModelError,
  WeightsError,
} from "../../src/base/errors.ts";
import type { Repo } from "../../src/base/bytes.ts";
import type { LoadOptions } from "../../src/engine/load.ts";
import { encodeSafetensors, type TensorData } from "../../src/weights/write.ts";
import { parseHeader } from "../../src/weights/safetensors.ts";
import { memoryRepo } from "../support/memory.ts";
import { fixtureSource } from "../support/fixtures.ts";
import { EMBEDDED, filesOf, load, loadFiles } from "./checkpoints.ts";
import { watchedDevice, type WatchedDevice } from "./device.ts";

type Files = Record<string, Uint8Array | string>;

const TINY = "tests/fixtures/llama/untied-f32";
const silent = (): void => undefined;
const text = (bytes: Uint8Array | string): string =>
  typeof bytes === "string" ? bytes : new TextDecoder().decode(bytes);

function withConfig(files: Files, change: Record<string, unknown>): Files {
  return {
    ...files,
    "config.json": JSON.stringify({ ...(JSON.parse(text(files["config.json"]!)) as object), ...change }),
  };
}

function tensorsOf(files: Files): TensorData[] {
  const whole = files["model.safetensors"] as Uint8Array;
  const length = Number(new DataView(whole.buffer, whole.byteOffset).getBigUint64(0, true));
  return [...parseHeader("model.safetensors", whole.subarray(8, 8 + length), whole.length).values()].map(
    ({ name, dtype, shape, begin, end }) => ({ name, dtype, shape, data: whole.subarray(begin, end) }),
  );
}

function withTensors(files: Files, change: (tensors: TensorData[]) => TensorData[]): Files {
  return { ...files, "model.safetensors": encodeSafetensors(change(tensorsOf(files))) };
}

const NORM = "model.norm.weight";

/** What is wrong, how the files come to be so, and the error that says it. */
const WRONG: [what: string, make: (files: Files) => Files, error: new (...args: never[]) => Error, says: RegExp][] = [
  ["no config.json", ({ "config.json": _, ...rest }) => rest, SourceError, /config\.json.*not found/],
  ["config.json that is no JSON", (f) => ({ ...f, "config.json": "{" }), SourceError, /not JSON/],
  ["config.json that is a list", (f) => ({ ...f, "config.json": "[]" }), ConfigError, /not a JSON object/],
  ["no model_type", (f) => withConfig(f, { model_type: undefined }), ConfigError, /model_type/],
  [
    "unknown model_type",
    (f) => withConfig(f, { model_type: "rwkv5" }),
    UnsupportedModelError,
    /rwkv5.*Supported: llama/,
  ],
  ["missing hidden_size", (f) => withConfig(f, { hidden_size: undefined }), ConfigError, /hidden_size: is missing/],
  ["negative layers", (f) => withConfig(f, { num_hidden_layers: -1 }), ConfigError, /num_hidden_layers/],
  ["heads that do not divide", (f) => withConfig(f, { num_key_value_heads: 3 }), ConfigError, /num_key_value_heads/],
  ["an activation that is not silu", (f) => withConfig(f, { hidden_act: "gelu" }), ConfigError, /hidden_act/],
  [
    "a rope scaling not known",
    (f) => withConfig(f, { rope_parameters: null, rope_scaling: { rope_type: "newer", factor: 4 } }),
    ConfigError,
    /rope_type.*newer/,
  ],
  ["quantised weights", (f) => withConfig(f, { quantization_config: { bits: 4 } }), ConfigError, /quantization_config/],
  ["no weights", ({ "model.safetensors": _, ...rest }) => rest, SourceError, /model\.safetensors/],
  [
    "a missing shard",
    ({ "model.safetensors": _, ...rest }) => ({
      ...rest,
      "model.safetensors.index.json": JSON.stringify({ weight_map: { [NORM]: "model-00001-of-00002.safetensors" } }),
    }),
    SourceError,
    /model-00001-of-00002/,
  ],
  [
    "truncated weights",
    (f) => ({ ...f, "model.safetensors": (f["model.safetensors"] as Uint8Array).slice(0, -4) }),
    SafetensorsError,
    /model\.safetensors/,
  ],
  [
    "a missing tensor",
    (f) => withTensors(f, (t) => t.filter((x) => x.name !== NORM)),
    WeightsError,
    /model\.norm\.weight.*not in/,
  ],
  [
    "a tensor of the wrong shape",
    (f) =>
      withTensors(f, (t) =>
        t.map((x) =>
          x.name === NORM ? { ...x, shape: [x.shape[0]! / 2], data: x.data.slice(0, x.data.length / 2) } : x,
        ),
      ),
    WeightsError,
    /shape \[\d+\]; config\.json says \[\d+\]/,
  ],
  [
    "a tensor of integers",
    (f) => withTensors(f, (t) => t.map((x) => (x.name === NORM ? { ...x, dtype: "I32" } : x))),
    WeightsError,
    /I32/,
  ],
  ["a broken tokenizer", (f) => ({ ...f, "tokenizer.json": '{"model": 5}' }), TokenizerError, /tokenizer\.json/],
];

describe("loading fails", () => {
  let watched: WatchedDevice;
  beforeAll(async () => {
    watched = await watchedDevice();
  });
  afterEach(() => expect(watched.live).toEqual({ buffers: 0, bytes: 0 }));
  afterAll(() => watched.device.destroy());
  const failing = (repo: Repo, options: LoadOptions = {}): Promise<unknown> =>
    loadFiles(repo, { device: watched.device, ...options });

  it.each(WRONG)("with %s", async (_, make, error, says) => {
    const before = watched.created;
    const load = failing(memoryRepo(make(await filesOf(fixtureSource(TINY)))));
    await expect(load).rejects.toBeInstanceOf(error);
    await expect(load).rejects.toThrow(says);
    expect(watched.created).toBe(before); // found before anything was allocated
  });

  it("on a cache in bytes whose heads do not fill words", async () => {
    const files = withConfig(await filesOf(fixtureSource(TINY)), { head_dim: 12 });
    await expect(failing(memoryRepo(files), { kv: "int8" })).rejects.toThrow(/multiples of 8; these have 12/);
  });

  it("when it is aborted, at any stage", async () => {
    const files = await filesOf(fixtureSource(EMBEDDED));
    for (const stage of ["config", "tokenizer", "pipelines", "weights"]) {
      const controller = new AbortController();
      const load = failing(memoryRepo(files), {
        signal: controller.signal,
        onProgress: (p) => p.stage === stage && controller.abort(),
      });
      await expect(load).rejects.toBeInstanceOf(AbortError);
      expect(watched.live).toEqual({ buffers: 0, bytes: 0 });
    }
  });

  it("when a file breaks off while it streams", async () => {
    const files = memoryRepo(await filesOf(fixtureSource(TINY)));
    const repo: Repo = {
      label: "breaking",
      open: async (name, signal) => {
        const file = await files.open(name, signal);
        if (!file || name !== "model.safetensors") return file;
        return {
          ...file,
          async *stream(begin, end) {
            yield await file.read(begin, begin + 1000);
            throw new SourceError(name, `the connection broke with ${end - begin - 1000} bytes to go`);
          },
        };
      },
    };
    await expect(failing(repo)).rejects.toThrow(/connection broke/);
  });

  it("when any allocation is refused, with the bytes it needed", async () => {
    const repo = memoryRepo(await filesOf(fixtureSource(TINY)));
    const before = watched.created;
    const engine = await loadFiles(repo, { device: watched.device });
    const needed = watched.created - before;
    await engine.dispose();
    for (let n = 0; n < needed; n++) {
      watched.failAt(n, n % 2 ? "throw" : "scope");
      await expect(failing(repo)).rejects.toMatchObject({ code: "out-of-memory" });
      expect(watched.live).toEqual({ buffers: 0, bytes: 0 });
    }
  });

  it("when the budget holds no context of cache", async () => {
    const repo = memoryRepo(await filesOf(fixtureSource(EMBEDDED)));
    const error = await failing(repo, { memoryBytes: 3_000_000 }).then(silent, (e: unknown) => e);
    expect(error).toBeInstanceOf(OutOfMemoryError);
    expect((error as OutOfMemoryError).needed).toBeGreaterThan((error as OutOfMemoryError).available!);
  });

  it("when the device is lost meanwhile", async () => {
    const lost = await watchedDevice();
    const repo = memoryRepo(await filesOf(fixtureSource(EMBEDDED)));
    const load = loadFiles(repo, {
      device: lost.device,
      onProgress: (p) => p.stage === "weights" && lost.device.destroy(),
    });
    await expect(load).rejects.toBeInstanceOf(DeviceLostError);
    expect(lost.live).toEqual({ buffers: 0, bytes: 0 });
  });
});

describe("running", () => {
  it("within a memory budget takes no more than that", async () => {
    const engine = await load(fixtureSource(EMBEDDED), { memoryBytes: 24_000_000, contextTokens: 128 });
    expect(engine.stats().gpuBytes.total).toBeLessThanOrEqual(24_000_000);
    await engine.dispose();
  });

  it("holds the smaller context that was asked for", async () => {
    const engine = await load(fixtureSource(EMBEDDED), { contextTokens: 64 });
    await expect(
      engine.generate(
        Array.from({ length: 64 }, () => 9),
        {},
        silent,
      ),
    ).rejects.toBeInstanceOf(ContextLengthError);
    await engine.dispose();
    await expect(load(fixtureSource(EMBEDDED), { contextTokens: 100_000 })).rejects.toThrow(/contextTokens/);
  });

  it.each(["generate", "logits", "idle"])("ends with a typed error when the device is lost: %s", async (when) => {
    const watched = await watchedDevice();
    const engine = await load(fixtureSource(EMBEDDED), { device: watched.device });
    const others = [engine.generate([1, 2], { maxTokens: 100 }, silent), engine.score([1, 2, 3])];
    if (when === "idle") await Promise.all(others);
    const pending =
      when === "generate"
        ? engine.generate([1, 2, 3], { maxTokens: 400 }, (d) => d.ids.length && watched.device.destroy())
        : when === "logits"
          ? engine.logits(
              Array.from({ length: 200 }, () => 7),
              "all",
            )
          : undefined;
    if (when !== "generate") watched.device.destroy();
    if (pending) await expect(pending).rejects.toBeInstanceOf(DeviceLostError);
    await Promise.allSettled(others);
    await watched.device.lost;
    await expect(engine.generate([1], {}, silent)).rejects.toThrow(/lost/);
    await engine.dispose();
    expect(watched.live).toEqual({ buffers: 0, bytes: 0 });
  });
});
