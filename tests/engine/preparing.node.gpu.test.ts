/** Pipelines that few requests need are compiled before the first one that does; nobody else waits for them. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { DisposedError, GpuError } from "../../src/base/errors.ts";
import type { InProcessEngine } from "../../src/engine/engine.ts";
import { loadEngine } from "../../src/engine/load.ts";
import type { SamplingOptions } from "../../src/engine/port.ts";
import { openGpu } from "../../src/gpu/device.ts";
import { PORTABLE } from "../../src/kernels/tuning.ts";
import { fixtureSource } from "../support/fixtures.ts";
import { load } from "./checkpoints.ts";
import { Losses } from "./losses.ts";

const TINY = fixtureSource("tests/fixtures/llama/untied-f32");
/** A context of several splits, so that some requests are long and others are not. */
const TUNING = { pageSize: 32, maxRows: 8, slots: 4, kernels: { attention: { ...PORTABLE.attention, split: 64 } } };
const PROMPT = [3, 1, 4, 1, 5, 9, 2, 6];
const FILTERED: SamplingOptions = { temperature: 1, seed: 3, topK: 5, maxTokens: 6 };
const silent = (): void => undefined;

describe("pipelines that few need", { timeout: 20_000 }, () => {
  let engine: InProcessEngine;
  let device: GPUDevice;
  /** Names of what was compiled, in order. */
  let compiled: string[];
  /** Compiling waits for it, or fails with what it throws. */
  let gate: () => Promise<void>;

  beforeEach(async () => {
    ({ device } = await openGpu());
    const compile = device.createComputePipelineAsync.bind(device);
    compiled = [];
    gate = () => Promise.resolve();
    Object.defineProperty(device, "createComputePipelineAsync", {
      value: async (descriptor: GPUComputePipelineDescriptor) => {
        compiled.push(descriptor.label!);
        await gate();
        return compile(descriptor);
      },
    });
    engine = await load(TINY, { device, contextTokens: 256 }, TUNING);
  });
  afterEach(async () => {
    await engine.dispose();
    device.destroy();
  });

  const generate = async (options: SamplingOptions, signal?: AbortSignal) =>
    engine.generate(PROMPT, { maxTokens: 6, ...options }, silent, signal);
  /** What is compiled by a call. */
  const compiledBy = async (call: () => Promise<unknown>): Promise<string[]> => {
    const before = compiled.length;
    await call();
    return compiled.slice(before);
  };

  it("are compiled once, by who needs them", async () => {
    expect(compiled).not.toContain("filter");
    expect(await compiledBy(() => generate({ temperature: 0 }))).toEqual([]);
    expect(await compiledBy(() => generate({ temperature: 1, seed: 2 }))).toEqual([]);
    const filtering = await compiledBy(() => generate(FILTERED));
    expect(filtering).toEqual(expect.arrayContaining(["process", "filter", "rank", "logprobs"]));
    expect(await compiledBy(() => generate({ ...FILTERED, logprobs: 2 }))).toEqual([]);
    const long = await compiledBy(() => generate({ temperature: 0, maxTokens: 57 }));
    expect(long).toEqual(expect.arrayContaining(["attention_merge"]));
    expect(await compiledBy(() => generate({ ...FILTERED, maxTokens: 100 }))).toEqual([]);
    expect(await compiledBy(() => engine.score(PROMPT))).toContain("score");
    expect(await compiledBy(() => engine.score(PROMPT))).toEqual([]);
    expect(compiled.filter((name) => name === "filter")).toHaveLength(1);
  });

  it("are not needed by who fills a split to its last entry", async () => {
    expect(await compiledBy(() => generate({ temperature: 0, maxTokens: 56 }))).toEqual([]);
  });

  it("let others go on meanwhile, and are shared by who waits for them together", async () => {
    let open = silent;
    const opened = new Promise<void>((resolve) => (open = resolve));
    gate = () => opened;
    const waiting = [generate(FILTERED), generate({ ...FILTERED, seed: 4 })];
    await generate({ temperature: 0 });
    expect(engine.stats()).toMatchObject({ waiting: 2, running: 0 });
    open();
    for (const { ids } of await Promise.all(waiting)) expect(ids.length).toBeGreaterThan(0);
    expect(compiled.filter((name) => name === "filter")).toHaveLength(1);
  });

  it("hold nobody who does not want to wait any longer", async () => {
    gate = () => new Promise(silent);
    const controller = new AbortController();
    const result = generate(FILTERED, controller.signal);
    await Promise.resolve();
    controller.abort();
    expect(await result).toMatchObject({ finishReason: "abort", ids: [] });
    expect(engine.stats()).toMatchObject({ waiting: 0, running: 0 });
    const disposed = generate(FILTERED);
    const reading = engine.score(PROMPT);
    const refused = Promise.all([
      expect(disposed).rejects.toBeInstanceOf(DisposedError),
      expect(reading).rejects.toBeInstanceOf(DisposedError),
    ]);
    await engine.dispose();
    await refused;
  });

  it("may fail, and be tried again", async () => {
    gate = () => Promise.reject(new Error("out of registers"));
    await expect(generate(FILTERED)).rejects.toThrow(GpuError);
    await expect(generate(FILTERED)).rejects.toThrow(/out of registers/);
    expect((await generate({ temperature: 0 })).ids.length).toBeGreaterThan(0);
    gate = () => Promise.resolve();
    expect((await generate(FILTERED)).ids.length).toBeGreaterThan(0);
  });
});

describe("a device that is lost while they are compiled", { timeout: 20_000 }, () => {
  let losses: Losses;
  beforeAll(async () => {
    losses = await Losses.stage();
  });
  afterAll(() => losses.restore());

  it("is replaced, and who waited goes on there", async () => {
    const options = { kv: "f32", contextTokens: 256 } as const;
    const calm = await loadEngine(TINY, options, TUNING);
    const wanted = await calm.generate(PROMPT, FILTERED, silent);
    await calm.dispose();
    const engine = await loadEngine(TINY, options, TUNING);
    losses.arm("pipeline", 2);
    const waiting = engine.generate(PROMPT, FILTERED, silent);
    expect((await waiting).ids).toEqual(wanted.ids);
    expect(engine.stats().recoveries).toBe(1);
    // Lost again: the next device has all of them before anybody goes on.
    await engine.score(PROMPT);
    losses.arm("submit", 2);
    const [again] = await Promise.all([engine.generate(PROMPT, FILTERED, silent), engine.score(PROMPT)]);
    expect(again.ids).toEqual(wanted.ids);
    expect(engine.stats().recoveries).toBe(2);
    await engine.dispose();
    expect(losses.live).toEqual({ buffers: 0, bytes: 0 });
  });
});
