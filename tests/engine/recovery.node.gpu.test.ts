/** A lost device is replaced: whoever runs goes on with the tokens that would have come, and nothing is left of the old one. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import type { Repo } from "../../src/base/bytes.ts";
import {
  DeviceLostError,
  DisposedError,
  GpuError,
  NoAdapterError,
  OutOfMemoryError,
  SourceError,
} from "../../src/base/errors.ts";
import type { InProcessEngine } from "../../src/engine/engine.ts";
import { loadEngine, loadRepo, type EngineTuning, type LoadOptions } from "../../src/engine/load.ts";
import type { Delta, LoadProgress, RowRange, SamplingOptions } from "../../src/engine/port.ts";
import { fixtureSource } from "../support/fixtures.ts";
import { memoryRepo } from "../support/memory.ts";
import { filesOf } from "./checkpoints.ts";
import { Losses, type Point } from "./losses.ts";

const TINY = fixtureSource("tests/fixtures/llama/untied-f32");
const NOTHING = { buffers: 0, bytes: 0 };
const silent = (): void => undefined;
const failureOf = (promise: Promise<unknown>): Promise<unknown> => promise.then(silent, (error: unknown) => error);

let losses: Losses;
/** Added to the clock: the losses of a minute are counted, and those of the test before are not meant. */
let passed = 0;
beforeAll(async () => {
  losses = await Losses.stage();
  const now = performance.now.bind(performance);
  vi.spyOn(performance, "now").mockImplementation(() => now() + passed);
});
beforeEach(() => {
  passed += 120_000;
});
afterEach(() => expect(losses.pending).toBe(0));
afterAll(() => {
  losses.restore();
  vi.restoreAllMocks();
});

/** Few rows and slots: fewer programs to compile, and prompts in many chunks. */
const TUNING: EngineTuning = { pageSeed: 7, pageSize: 32, maxRows: 8, slots: 6 };
const load = (options: LoadOptions = {}): Promise<InProcessEngine> =>
  loadEngine(TINY, { kv: "f32", ...options }, TUNING);

type Work = (engine: InProcessEngine) => Promise<unknown>;

const idsOf = (seed: number, length: number): number[] =>
  Array.from({ length }, (_, i) => 2 + ((seed * 37 + i * i * 11 + i * 5) % 200));

/** A generation's choices; its deltas have to be what adds up to them. */
const generating =
  (ids: number[], options: SamplingOptions): Work =>
  async (engine) => {
    const deltas: Delta[] = [];
    const { choices } = await engine.generate(ids, options, (delta) => deltas.push(delta));
    for (const { index, ids: all, text } of choices) {
      const mine = deltas.filter((d) => d.index === index);
      expect(mine.flatMap((d) => d.ids)).toEqual(all);
      expect(mine.map((d) => d.text).join("")).toBe(text);
    }
    return choices.map((c) => [c.finishReason, c.ids, c.logprobs?.map(({ top }) => top.map(({ id }) => id))]);
  };
const reading =
  (ids: number[], rows: RowRange): Work =>
  (engine) =>
    engine.logits(ids, rows);
const scoring =
  (ids: number[]): Work =>
  (engine) =>
    engine.score(ids);

/** Tokens are the same; logits and scores to rounding, since their rows may be computed in other company. */
function expectSame(result: unknown, expected: unknown): void {
  if (!(expected instanceof Float32Array)) return expect(result).toEqual(expected);
  const values = result as Float32Array;
  expect(values).toHaveLength(expected.length);
  expect(values.reduce((worst, x, i) => Math.max(worst, Math.abs(x - expected[i]!)), 0)).toBeLessThan(1e-4);
}

const greedy = generating(idsOf(1, 40), { temperature: 0, maxTokens: 30 });
const drawn = generating(idsOf(2, 5), { temperature: 1, seed: 5, maxTokens: 40 });
const forked = generating(idsOf(3, 37), { temperature: 1, seed: 6, maxTokens: 20, n: 3 });
const forkedAtPage = generating(idsOf(8, 32), { temperature: 1, seed: 1, maxTokens: 9, n: 4 });
const processed = generating(idsOf(4, 12), {
  temperature: 0.8,
  seed: 9,
  maxTokens: 30,
  repetitionPenalty: 1.3,
  frequencyPenalty: 0.2,
  topK: 30,
  logprobs: 2,
});
const READERS = [reading(idsOf(5, 30), "all"), reading(idsOf(6, 45), [20, 45]), scoring(idsOf(7, 50))];
const COMPANY = [greedy, drawn, forked, processed, ...READERS];

/** Who runs, and where the device is lost. */
const POINTS: [name: string, work: Work[], point: Point, after: number][] = [
  ["as the first step is submitted", COMPANY, "submit", 0],
  ["in a chunk of a prompt", COMPANY, "submit", 3],
  ["at the end of a prompt, where it forks", [forkedAtPage], "submit", 3],
  ["while tokens are decoded", COMPANY, "submit", 50],
  ["while results are read back", COMPANY, "map", 9],
  ["while it samples with penalties", [processed, greedy], "submit", 15],
  ["while logits and scores are read", READERS, "map", 5],
];

describe("a device that is lost", { timeout: 60_000 }, () => {
  let engine: InProcessEngine;
  let held: { buffers: number; bytes: number };
  const calm = new Map<Work, unknown>();
  const heard: LoadProgress[] = [];

  beforeAll(async () => {
    engine = await load({ onProgress: (progress) => void heard.push(progress) });
    held = losses.live;
    for (const work of new Set(POINTS.flatMap(([, works]) => works))) calm.set(work, await work(engine));
  });
  afterAll(async () => {
    await engine.dispose();
    expect(losses.live).toEqual(NOTHING);
  });

  async function expectCalmResults(works: Work[], recoveries: number, lose: () => void): Promise<void> {
    const before = engine.stats();
    heard.length = 0;
    lose();
    const results = await Promise.all(works.map((work) => work(engine)));
    expect(losses.pending).toBe(0);
    results.forEach((result, i) => expectSame(result, calm.get(works[i]!)));
    const after = engine.stats();
    expect(after.recoveries - before.recoveries).toBe(recoveries);
    expect([after.pages.used, after.pages.shared, after.running, after.waiting]).toEqual([0, 0, 0, 0]);
    expect(after.gpuBytes).toEqual(before.gpuBytes);
    expect(losses.live).toEqual(held);
    expect(after.submits).toBeGreaterThan(before.submits);
    expect(heard.every((progress) => progress.recovering)).toBe(true);
    expect(heard.filter(({ stage }) => stage === "ready")).toHaveLength(recoveries);
  }

  it.each(POINTS)("%s", (_, works, point, after) => expectCalmResults(works, 1, () => losses.arm(point, after)));

  it("while nothing runs", async () => {
    await expectCalmResults([greedy], 1, () => losses.last.lose());
    // What the old device's cache held is not taken for something that the new one's holds.
    await expectCalmResults([greedy, forked], 0, silent);
  });

  it("and whose successors are lost as well, as they compile and as they are filled", async () => {
    await expectCalmResults([greedy, drawn], 1, () => {
      losses.arm("submit", 9);
      losses.arm("pipeline", 3);
      losses.arm("submit", 4); // the upload of weights
    });
  });

  it("while a session is saved, and again while it is restored", async () => {
    const ids = idsOf(10, 100);
    const answer = async (): Promise<number[]> => (await engine.generate(ids, { temperature: 0 }, silent)).ids;
    losses.arm("submit", 14); // of 13 chunks and 4 pages
    const saved = await engine.saveSession(ids);
    expect(losses.pending).toBe(0);
    const expected = await answer();

    const { recoveries } = engine.stats();
    losses.last.lose(); // nothing of it is left on the next device
    await expect.poll(() => engine.stats().recoveries, { interval: 5, timeout: 20_000 }).toBe(recoveries + 1);
    losses.arm("write", 3); // into the first of three pages
    await engine.restoreSession(saved);
    expect(losses.pending).toBe(0);
    await expect.poll(() => engine.stats().recoveries, { interval: 5, timeout: 20_000 }).toBe(recoveries + 2);
    const { hitTokens } = engine.stats().prefix;
    expect(await answer()).toEqual(expected);
    expect(engine.stats().prefix.hitTokens - hitTokens).toBe(96);
    expect(losses.live).toEqual(held);
  });

  it("lets a request be cancelled while there is none", async () => {
    const controller = new AbortController();
    const deltas: Delta[] = [];
    const cancelled = engine.generate(idsOf(9, 20), { temperature: 0 }, (d) => deltas.push(d), controller.signal);
    const others = expectCalmResults([greedy], 1, () => losses.arm("submit", 12));
    await expect.poll(() => heard.length, { interval: 5, timeout: 20_000 }).toBeGreaterThan(0);
    controller.abort();
    const { finishReason, ids } = await cancelled;
    expect(finishReason).toBe("abort");
    expect(deltas.flatMap((d) => d.ids)).toEqual(ids);
    await others;
  });
});

describe("there is no other device", () => {
  /** From the loss to the callers' rejections. */
  let ms = 0;

  /** Loses the device of an engine that runs and one that `prepare` has made hopeless; every caller hears why. */
  async function expectEnd(prepare: () => void, repo?: Repo): Promise<DeviceLostError> {
    const engine = await (repo ? loadRepo(repo, { kv: "f32" }, TUNING) : load());
    prepare();
    const deltas: Delta[] = [];
    losses.arm("submit", 10);
    const calls = [
      engine.generate(idsOf(1, 20), { temperature: 0, maxTokens: 60 }, (d) => deltas.push(d)),
      engine.logits(idsOf(2, 40), "all"),
    ].map(failureOf);
    const [error, other] = await Promise.all(calls);
    expect(error).toBeInstanceOf(DeviceLostError);
    expect(other).toBe(error);
    ms = Date.now() - losses.lostAt;
    const given = deltas.length;
    expect(await failureOf(engine.generate([1], {}, silent))).toBe(error);
    await engine.dispose();
    expect(deltas).toHaveLength(given);
    expect(engine.stats()).toMatchObject({ recoveries: 0, gpuBytes: { total: 0 }, pages: { used: 0, shared: 0 } });
    expect(losses.live).toEqual(NOTHING);
    return error as DeviceLostError;
  }

  it("when no adapter is left", async () => {
    const { cause, message } = await expectEnd(() => (losses.gone = true));
    losses.gone = false;
    expect(ms).toBeLessThan(1000);
    expect(cause).toBeInstanceOf(NoAdapterError);
    expect(message).toMatch(/lost \(unknown\): staged; it could not be replaced: .*adapter.*Load the model again/);
  });

  it("when four are lost within a minute", async () => {
    const { devices } = losses;
    const before = devices.length;
    const { cause, message } = await expectEnd(() => {
      for (let i = 0; i < 3; i++) queueMicrotask(() => losses.arm("pipeline", i));
    });
    expect(losses.pending).toBe(0);
    expect(devices).toHaveLength(before + 4);
    expect(cause).toBeInstanceOf(DeviceLostError);
    expect(message).toMatch(/4 were lost within 60 seconds/);
  });

  it("when it has fewer pages than requests were accepted for", async () => {
    const { cause } = await expectEnd(() => (losses.bindNextBytes = 200_000)); // 16 of 32 pages; one context takes 8
    expect(cause).toBeInstanceOf(OutOfMemoryError);
  });

  it("when the weights are not those that were loaded", async () => {
    const files = await filesOf(TINY);
    const weights = files["model.safetensors"]!;
    const { cause } = await expectEnd(() => weights.fill(0x3c, weights.length / 2), memoryRepo(files));
    expect(cause).toBeInstanceOf(SourceError);
    expect((cause as Error).message).toMatch(/model\.safetensors: the weights have changed/);
  });

  it.each([0, 20, 45])("when it has no room for buffer %i", async (n) => {
    const { cause } = await expectEnd(() => (losses.failNextAt = n));
    expect(cause).toBeInstanceOf(OutOfMemoryError);
  });
});

describe("nothing is recovered", () => {
  it.each(["pipelines", "weights"])("by a load, which fails and leaves nothing: %s", async (stage) => {
    const before = losses.devices.length;
    const failed = load({ onProgress: (p) => void (p.stage === stage && p.loaded < p.total && losses.last.lose()) });
    expect(await failureOf(failed)).toBeInstanceOf(DeviceLostError);
    expect(losses.devices).toHaveLength(before + 1);
    expect(losses.live).toEqual(NOTHING);
  });

  it("when an engine is disposed of, before or after its device is lost", async () => {
    const engine = await load();
    const { length } = losses.devices;
    const running = failureOf(engine.generate(idsOf(1, 20), {}, silent));
    const disposing = engine.dispose();
    losses.last.lose();
    expect(await running).toBeInstanceOf(DisposedError);
    await disposing;
    await losses.last.device.lost;
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(losses.devices).toHaveLength(length);
    expect(engine.stats()).toMatchObject({ recoveries: 0, gpuBytes: { total: 0 } });
  });

  it.each(["pipelines", "weights"])("any more when it is disposed of meanwhile: %s", async (stage) => {
    let disposing: Promise<void> | undefined;
    const engine = await load({
      onProgress: (p) => void (p.recovering && p.stage === stage && (disposing ??= engine.dispose())),
    });
    losses.arm("submit", 6);
    const running = failureOf(engine.generate(idsOf(1, 20), {}, silent));
    expect(await running).toBeInstanceOf(DisposedError);
    await disposing;
    expect(losses.live).toEqual(NOTHING);
    expect(engine.stats()).toMatchObject({ recoveries: 0, gpuBytes: { total: 0 } });
    expect(await failureOf(engine.score([1, 2]))).toBeInstanceOf(DisposedError);
  });

  it("of a device that somebody destroyed, or that made an error", async () => {
    const end = async (spoil: (device: GPUDevice) => void): Promise<unknown> => {
      const engine = await load();
      const { length } = losses.devices;
      const deltas: Delta[] = [];
      const { device } = losses.last;
      const running = engine.generate(idsOf(1, 9), { temperature: 0, maxTokens: 200 }, (d) => {
        if (deltas.push(d) === 3) spoil(device);
      });
      const error = await failureOf(running);
      const given = deltas.length;
      await engine.dispose();
      expect(deltas).toHaveLength(given);
      expect(losses.devices).toHaveLength(length);
      expect(losses.live).toEqual(NOTHING);
      return error;
    };
    expect(await end((device) => device.destroy())).toMatchObject({ code: "device-lost", reason: "destroyed" });
    expect(await end((device) => device.createBuffer({ size: 4, usage: 0 }).destroy())).toBeInstanceOf(GpuError);
  });

  it("for a device that the caller gave", async () => {
    const guest = await load();
    const { device } = losses.last;
    const engine = await load({ device });
    const { length } = losses.devices;
    losses.last.lose();
    const error = await failureOf(engine.generate(idsOf(1, 9), {}, silent));
    expect(error).toMatchObject({ code: "device-lost", reason: "unknown" });
    expect(error).not.toHaveProperty("cause");
    await guest.dispose();
    await engine.dispose();
    expect(losses.devices.length).toBeLessThanOrEqual(length + 1); // the other engine's own recovery
    expect(losses.live).toEqual(NOTHING);
  });
});
