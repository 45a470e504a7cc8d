/** The engine behind a worker: the same tokens, bits and errors as on this thread, and an end for every call. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { EngineStats, LoadProgress } from "../../src/engine/port.ts";
import {
  AbortError,
  ArgumentError,
  DisposedError,
  Engine,
  SessionError,
  SourceError,
  TokenizerError,
  UnsupportedError,
  UnsupportedModelError,
  WorkerError,
  type Delta,
  type LoadOptions,
  type ModelSource,
} from "../../src/index.ts";
import { WorkerEngine } from "../../src/worker/client.ts";
import { fixtureSource, readBytes, readFixtureJson } from "../support/fixtures.ts";

const model = fixtureSource("demo/public/model");
const idsOnly = fixtureSource("tests/fixtures/llama/untied-f32"); // no tokenizer
const PROMPT = "Once upon a time";

interface Golden {
  cases: { prompt: string; ids: number[]; greedy: number[]; text: string }[];
}

/** One for all tests that leave it as it was. */
let shared: Engine;
const open: { dispose(): Promise<void> }[] = [];

/** Disposed of after the test. */
async function load(options: LoadOptions = {}, source: ModelSource = model): Promise<Engine> {
  const engine = await Engine.load(source, { worker: true, kv: "f32", ...options });
  open.push(engine);
  return engine;
}

/** The port itself, whose worker can be harmed. */
async function loadPort(source: ModelSource = model, start?: () => Worker): Promise<WorkerEngine> {
  const engine = await WorkerEngine.load(source, { kv: "f32" }, start);
  open.push(engine);
  return engine;
}

/** Resolves with `generate`'s end, and with a promise of its first delta. */
function begin(engine: WorkerEngine, signal?: AbortSignal) {
  let deltas = 0;
  let first = (): void => {};
  const begun = new Promise<void>((resolve) => (first = resolve));
  const onDelta = (): void => {
    deltas++;
    first();
  };
  const end = engine.generate(PROMPT, { maxTokens: 400, temperature: 1, seed: 1 }, onDelta, signal);
  end.catch(() => undefined);
  return { begun, end, count: () => deltas };
}

/** Names of the locks by which workers of ours are known to live. */
async function livingWorkers(): Promise<number> {
  const { held = [] } = await navigator.locks.query();
  return held.filter(({ name }) => name?.startsWith("tessera worker")).length;
}

async function filesOf(folder: string, under = ""): Promise<File[]> {
  const names = [
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "generation_config.json",
    "model.safetensors",
  ];
  return Promise.all(
    names.map(async (name) => at(under + name, (await readBytes(`${folder}/${name}`)) as Uint8Array<ArrayBuffer>)),
  );
}

/** A file as `<input webkitdirectory>` gives it. */
function at(path: string, content: BlobPart): File {
  return Object.defineProperty(new File([content], path.split("/").at(-1)!), "webkitRelativePath", { value: path });
}

/** Every reply to a call brings figures. */
async function figuresNow(): Promise<EngineStats> {
  await shared.encode("");
  return shared.stats();
}

/** Whether everything but the weights of a source can be read; how many workers lived meanwhile. */
async function opens(source: ModelSource, options: LoadOptions = {}): Promise<{ opens: boolean; workers: number }> {
  const controller = new AbortController();
  let reached: Promise<number> | undefined;
  const onProgress = ({ stage, loaded }: LoadProgress): void => {
    if (stage !== "tokenizer" || loaded === 0) return;
    reached = livingWorkers();
    controller.abort();
  };
  await expect(load({ signal: controller.signal, onProgress, ...options }, source)).rejects.toThrow(AbortError);
  return { opens: reached !== undefined, workers: (await reached) ?? 0 };
}

let golden: Golden["cases"][number];
const stages: LoadProgress["stage"][] = [];

beforeAll(async () => {
  const { cases } = await readFixtureJson<Golden>("tests/fixtures/embedded/golden.json");
  golden = cases.find(({ prompt }) => prompt === PROMPT)!;
  const onProgress = ({ stage }: LoadProgress): void => void stages.push(stage);
  shared = await Engine.load(model, { worker: true, kv: "f32", onProgress });
});

afterAll(() => shared.dispose());

afterEach(async () => {
  await Promise.all(open.splice(0).map((engine) => engine.dispose()));
  // A worker's lock is let go of a moment after its end.
  await expect.poll(livingWorkers, { timeout: 30_000 }).toBe(1);
  await expect.poll(figuresNow, { timeout: 30_000 }).toMatchObject({ running: 0, waiting: 0, pages: { used: 0 } });
});

describe("an engine in a worker", () => {
  it("writes the golden continuation, in order, with progress before and figures after", async () => {
    expect(await livingWorkers()).toBe(1);
    expect([...new Set(stages)].sort()).toEqual(["config", "pipelines", "ready", "tokenizer", "weights"]);
    expect(stages.at(-1)).toBe("ready");
    expect(shared.model).toMatchObject({ modelType: "llama", contextTokens: 512, tokenizer: true, kv: "f32" });
    const before = shared.stats();
    expect(before.gpuBytes.total).toBeGreaterThan(0);
    await new Promise((resolve) => setTimeout(resolve, 150)); // figures come at most every 100 ms: some with the first delta

    const generation = shared.generate(PROMPT, { temperature: 0, maxTokens: 64 });
    const deltas: Delta[] = [];
    const figures: EngineStats[] = [];
    for await (const delta of generation) {
      deltas.push(delta);
      figures.push(shared.stats());
    }
    const result = await generation.result;
    expect(result.ids).toEqual(golden.greedy);
    expect(result.text).toBe(golden.text);
    expect(result.finishReason).toBe("length");
    expect(deltas.flatMap(({ ids }) => ids)).toEqual(result.ids);
    expect(deltas.map(({ text }) => text).join("")).toBe(result.text);
    expect(figures.some(({ tokens, running }) => tokens > before.tokens && running === 1)).toBe(true);
    expect(shared.stats()).toMatchObject({ tokens: before.tokens + 64, gpuBytes: before.gpuBytes });
  });

  it("gives the same bits as one on this thread", async () => {
    const here = await load({ worker: false });
    const { ids } = golden;
    expect(await shared.encode(PROMPT)).toEqual(ids);
    const bare = { specialTokens: false };
    expect(await shared.encode(PROMPT, bare)).toEqual(await here.encode(PROMPT, bare));
    expect(await shared.decode(ids, { skipSpecialTokens: false })).toBe(
      await here.decode(ids, { skipSpecialTokens: false }),
    );
    const logits = await shared.logits(ids, { rows: [1, 4] });
    expect(logits).toBeInstanceOf(Float32Array);
    expect(logits.length).toBe(3 * shared.model.vocabSize);
    expect(logits).toEqual(await here.logits(ids, { rows: [1, 4] }));
    expect(await shared.score(ids)).toEqual(await here.score(ids));
    const options = { seed: 7, maxTokens: 24, n: 2 };
    const [there, local] = [shared.generate(PROMPT, options), here.generate(PROMPT, options)];
    expect((await there.result).choices).toEqual((await local.result).choices);
    expect(shared.model).toEqual(here.model);
  });

  it("saves a session that an engine on this thread restores, and restores it too", async () => {
    const here = await load({ worker: false });
    const saved = await shared.saveSession(PROMPT, { seed: 3 });
    expect(saved).toBeInstanceOf(Uint8Array);
    const restored = await here.restoreSession(saved);
    expect(restored).toEqual({ ids: golden.ids, seed: 3, cachedTokens: 0 });
    expect(await shared.restoreSession(saved)).toEqual(restored);
    await expect(shared.restoreSession(saved.slice(1))).rejects.toBeInstanceOf(SessionError);
  });

  it("refuses a function that would have to be asked between two tokens", async () => {
    const { result } = shared.generate(PROMPT, { allowedTokens: () => null });
    await expect(result).rejects.toBeInstanceOf(UnsupportedError);
  });

  it("keeps the deltas of requests that run together apart", async () => {
    const generations = [1, 2, 3].map((seed) => shared.generate(PROMPT, { seed, maxTokens: 20 + seed }));
    const texts = await Promise.all(
      generations.map(async (generation) => {
        let text = "";
        for await (const delta of generation) text += delta.text;
        return text;
      }),
    );
    const results = await Promise.all(generations.map(({ result }) => result));
    expect(texts).toEqual(results.map(({ text }) => text));
    expect(new Set(texts).size).toBe(3);
  });
});

describe("a source for a worker", () => {
  it("may be relative to the page", async () => {
    const { origin, pathname } = new URL(model);
    expect(origin).toBe(location.origin);
    expect(await opens(pathname)).toEqual({ opens: true, workers: 2 });
    const base = document.createElement("base");
    base.href = fixtureSource("demo/public/");
    document.head.append(base);
    try {
      expect(await opens("./model")).toEqual({ opens: true, workers: 2 });
    } finally {
      base.remove();
    }
  });

  it("may be files, which keep their places in the folder", async () => {
    const files = await filesOf(model, "model/");
    files.unshift(at("model/onnx/config.json", '{"model_type": "not this one"}'));
    expect(await opens(files)).toEqual({ opens: true, workers: 2 });
  });

  it("may be a directory", async () => {
    const root = await navigator.storage.getDirectory();
    const directory = await root.getDirectoryHandle("worker-test", { create: true });
    for (const file of await filesOf(model)) {
      const writable = await (await directory.getFileHandle(file.name, { create: true })).createWritable();
      await writable.write(file);
      await writable.close();
    }
    try {
      expect(await opens(directory)).toEqual({ opens: true, workers: 2 });
    } finally {
      await root.removeEntry("worker-test", { recursive: true });
    }
  });
});

describe("a load in a worker", () => {
  it("fails with the classes and fields that it has on this thread", async () => {
    const missing = await load({}, fixtureSource("tests/no-such-folder")).catch((error: unknown) => error);
    expect(missing).toBeInstanceOf(SourceError);
    expect(missing).toMatchObject({ code: "source", file: "config.json" });

    const foreign = await load({}, [new File(['{"model_type": "mamba"}'], "config.json")]).catch((e: unknown) => e);
    expect(foreign).toBeInstanceOf(UnsupportedModelError);
    expect((foreign as UnsupportedModelError).supported).toContain("llama");

    await expect(load({ contextTokens: 1e9 })).rejects.toThrow(ArgumentError);
    await expect(load({}, "no model of that name")).rejects.toThrow(ArgumentError);
  });

  it("is aborted where it is, with the caller's reason", async () => {
    for (const stage of ["config", "weights", "ready"] as const) {
      const controller = new AbortController();
      const reason = new Error(`enough at ${stage}`);
      const onProgress = (progress: LoadProgress) => progress.stage === stage && controller.abort(reason);
      const error = await load({ signal: controller.signal, onProgress }).catch((error: unknown) => error);
      expect(error, stage).toBeInstanceOf(AbortError);
      expect((error as Error).cause, stage).toBe(reason);
    }
  });

  it("does not begin when it was aborted before", async () => {
    await expect(load({ signal: AbortSignal.abort() })).rejects.toThrow(AbortError);
  });

  it("ends when its listener throws", async () => {
    const fault = new Error("the page's own");
    const onProgress = (): never => {
      throw fault;
    };
    await expect(load({ onProgress })).rejects.toBe(fault);
  });

  it("takes no fetch, and stays on this thread when it is given a device", async () => {
    await expect(load({ fetch: (...args) => fetch(...args) })).rejects.toThrow(ArgumentError);
    const device = await (await navigator.gpu.requestAdapter())!.requestDevice();
    expect(await opens(model, { device })).toEqual({ opens: true, workers: 1 });
    device.destroy();
  });
});

describe("a request to a worker", () => {
  it("is aborted, and has what came until then", async () => {
    const controller = new AbortController();
    const generation = shared.generate(PROMPT, { maxTokens: 400, seed: 1, signal: controller.signal });
    const ids: number[] = [];
    for await (const delta of generation) {
      ids.push(...delta.ids);
      controller.abort();
    }
    const result = await generation.result;
    expect(result.finishReason).toBe("abort");
    expect(result.ids).toEqual(ids);
    expect(ids.length).toBeLessThan(400);

    const { result: before } = shared.generate(PROMPT, { signal: AbortSignal.abort() });
    expect(await before).toMatchObject({ finishReason: "abort", ids: [] });
    const reason = new Error("not wanted");
    const read = shared.logits(golden.ids, { signal: AbortSignal.abort(reason) });
    await expect(read).rejects.toThrow(AbortError);
    expect(((await read.catch((error: unknown) => error)) as Error).cause).toBe(reason);
  });

  it("fails with its own error, and leaves the others alone", async () => {
    const engine = await loadPort(idsOnly);
    await expect(engine.generate("text", {}, () => {})).rejects.toThrow(TokenizerError);
    await expect(engine.encode("text")).rejects.toThrow(TokenizerError);
    await expect(engine.score([1])).rejects.toThrow(ArgumentError);
    const fault = new Error("the listener's own");
    const failing = engine.generate([1, 2, 3], { maxTokens: 250 }, () => {
      throw fault;
    });
    await expect(failing).rejects.toBe(fault);
    expect(await engine.logits([1, 2, 3], "last")).toHaveLength(engine.info.vocabSize);
    expect(engine.stats()).toMatchObject({ running: 0, waiting: 0 });
  });

  it("says so when it cannot be sent", async () => {
    const messages = new Proxy([{ role: "user", content: "Hi" }], {});
    await expect(shared.generate(messages).result).rejects.toThrow(ArgumentError);
    await expect(shared.generate(messages).result).rejects.toThrow(/generate call.*copied first/s);
    expect((await shared.generate(PROMPT, { maxTokens: 2 }).result).ids).toHaveLength(2);
  });
});

describe("a worker that fails", () => {
  const failures: [name: string, harm: (worker: Worker) => void, message: RegExp][] = [
    ["is terminated", (worker) => worker.terminate(), /was terminated/],
    ["throws", (worker) => worker.postMessage(null), /failed: .*TypeError.*host/],
  ];
  it.each(failures)("and %s: every call rejects, those to come as well", async (_, harm, message) => {
    const engine = await loadPort();
    const { begun, end } = begin(engine);
    await begun;
    const waiting = engine.score(golden.ids);
    waiting.catch(() => undefined);
    harm(engine.worker);
    for (const call of [end, waiting, engine.encode("later"), engine.logits([1], "last")]) {
      await expect(call).rejects.toThrow(WorkerError);
      await expect(call).rejects.toThrow(message);
    }
    expect(engine.stats()).toMatchObject({ running: 0, waiting: 0, gpuBytes: { total: 0 } });
    await engine.dispose();
  });

  it("to be found does not start", async () => {
    const start = (): Worker => new Worker(`${location.origin}/no-such-worker.js`, { type: "module" });
    await expect(loadPort(model, start)).rejects.toThrow(WorkerError);
    await expect(loadPort(model, start)).rejects.toThrow(/could not start/);
  });

  it("at its first line does not start", async () => {
    const start = (): Worker => new Worker(new URL("./broken.worker.ts", import.meta.url), { type: "module" });
    await expect(loadPort(model, start)).rejects.toThrow(/could not start.*broken on purpose/);
  });

  it("to answer is ended all the same", async () => {
    const start = (): Worker => new Worker(new URL("./stuck.worker.ts", import.meta.url), { type: "module" });
    const engine = await loadPort(model, start);
    const { end } = begin(engine);
    await engine.dispose();
    await expect(end).rejects.toThrow(DisposedError);
  });
});

describe("dispose", () => {
  it("ends what runs and refuses what comes, once and for all", async () => {
    const engine = await loadPort();
    const { begun, end } = begin(engine);
    await begun;
    await Promise.all([engine.dispose(), engine.dispose()]);
    await expect(end).rejects.toThrow(DisposedError);
    await expect(engine.encode("later")).rejects.toThrow(DisposedError);
    await expect(engine.generate("later", {}, () => {})).rejects.toThrow(DisposedError);
    expect(engine.stats()).toMatchObject({ running: 0, gpuBytes: { total: 0 } });
    await engine.dispose();
  });
});
