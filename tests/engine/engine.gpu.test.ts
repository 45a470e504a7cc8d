import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { InProcessEngine } from "../../src/engine/engine.ts";
import type { Delta } from "../../src/engine/port.ts";
import {
  ArgumentError,
  ContextLengthError,
  DisposedError,
  TemplateError,
  TooLargeError,
} from "../../src/base/errors.ts";
import { llama } from "../../src/models/llama.ts";
import { fixtureSource, readFixtureJson } from "../support/fixtures.ts";
import { EMBEDDED, load } from "./checkpoints.ts";
import { watchedDevice } from "./device.ts";

interface Golden {
  cases: { prompt: string; ids: number[]; greedy: number[] }[];
  score: { ids: number[]; logprobs: number[] };
}

const silent = (): void => undefined;

describe("engine", () => {
  let engine: InProcessEngine;
  let golden: Golden;

  beforeAll(async () => {
    engine = await load(fixtureSource(EMBEDDED));
    golden = await readFixtureJson<Golden>("tests/fixtures/embedded/golden.json");
  });
  afterAll(() => engine.dispose());

  const decodeIds = async (
    ids: number[],
    maxTokens: number,
  ): Promise<{ dispatches: number; submits: number; tokens: number }> => {
    const before = engine.stats();
    const { ids: got } = await engine.generate(ids, { temperature: 0, maxTokens }, silent);
    const after = engine.stats();
    expect(got).toHaveLength(maxTokens);
    return {
      dispatches: after.dispatches - before.dispatches,
      submits: after.submits - before.submits,
      tokens: maxTokens,
    };
  };

  it("keeps a decode step within the family's dispatches, one submit each", async () => {
    const ids = golden.cases[1]!.ids;
    const short = await decodeIds(ids, 4);
    const long = await decodeIds(ids, 24);
    const steps = long.tokens - short.tokens;
    const { layer, other } = llama.dispatches;
    // The head, the two halves of sampling, and the advance.
    expect((long.dispatches - short.dispatches) / steps).toBe(layer * engine.info.layers + other + 4);
    expect(layer).toBeLessThanOrEqual(8);
    expect((long.submits - short.submits) / steps).toBe(1);
  });

  it("creates nothing on the device while it generates", async () => {
    const watched = await watchedDevice();
    const own = await load(fixtureSource(EMBEDDED), { device: watched.device });
    const before = watched.creations;
    await Promise.all(golden.cases.map(({ ids }) => own.generate(ids, { temperature: 0, maxTokens: 12 }, silent)));
    expect(watched.creations).toBe(before);
    await own.dispose();
    expect(watched.live).toEqual({ buffers: 0, bytes: 0 });
    watched.device.destroy();
  });

  it("holds the same bytes after each of 50 generations", async () => {
    const { total } = engine.stats().gpuBytes;
    expect(total).toBeGreaterThan(0);
    for (let i = 0; i < 50; i++) {
      await engine.generate(golden.cases[i % 3]!.ids, { temperature: 1, seed: i, maxTokens: 1 + (i % 7) }, silent);
      expect(engine.stats().gpuBytes.total).toBe(total);
      expect(engine.stats().pages.used).toBe(0);
    }
  });

  it("gives the same text for the same seed, in any company", async () => {
    const { prompt } = golden.cases[1]!;
    const run = (seed: number) => engine.generate(prompt, { temperature: 0.9, seed, maxTokens: 24 }, silent);
    const alone = await run(11);
    const [again, other] = await Promise.all([run(11), run(12)]);
    expect(again.ids).toEqual(alone.ids);
    expect(other.ids).not.toEqual(alone.ids);
  });

  it("draws n different continuations from one prefill", async () => {
    const { ids } = golden.cases[2]!;
    const before = engine.stats();
    const { choices, usage } = await engine.generate(ids, { temperature: 1, seed: 3, maxTokens: 16, n: 3 }, silent);
    expect(engine.stats().promptTokens - before.promptTokens).toBe(ids.length);
    expect(usage.promptTokens).toBe(ids.length);
    expect(new Set(choices.map((c) => c.ids.join())).size).toBe(3);
    expect(choices.map((c) => c.index)).toEqual([0, 1, 2]);
  });

  it("streams each id once, in order, and all deltas together are the result", async () => {
    const deltas: Delta[] = [];
    const { prompt } = golden.cases[1]!;
    const result = await engine.generate(prompt, { temperature: 1, seed: 4, maxTokens: 40, n: 2 }, (d) =>
      deltas.push(d),
    );
    for (const choice of result.choices) {
      const mine = deltas.filter((d) => d.index === choice.index);
      expect(mine.flatMap((d) => d.ids)).toEqual(choice.ids);
      expect(mine.map((d) => d.text).join("")).toBe(choice.text);
    }
    expect(result.timing.totalMs).toBeGreaterThanOrEqual(result.timing.firstTokenMs);
  });

  it("cuts at a stop string: text without it, ids with it", async () => {
    const { ids } = golden.cases[1]!;
    const whole = await engine.generate(ids, { temperature: 0, maxTokens: 40 }, silent);
    const stop = whole.text.slice(20, 26);
    const cut = await engine.generate(ids, { temperature: 0, maxTokens: 40, stop: [stop] }, silent);
    expect(cut.finishReason).toBe("stop");
    expect(cut.text).toBe(whole.text.slice(0, whole.text.indexOf(stop)));
    expect(cut.ids).toEqual(whole.ids.slice(0, cut.ids.length));
    expect(engine.stats().pages.used).toBe(0);
  });

  it("scores as the golden does, and as the logits say", async () => {
    const { ids, logprobs } = golden.score;
    const scores = await engine.score(ids);
    expect(scores).toHaveLength(ids.length - 1);
    logprobs.forEach((expected, i) => expect(Math.abs(scores[i]! - expected)).toBeLessThan(1e-3));
    const { vocabSize } = engine.info;
    const rows = await engine.logits(ids, [3, 6]);
    expect(rows).toHaveLength(3 * vocabSize);
    for (let r = 0; r < 3; r++) {
      const row = rows.subarray(r * vocabSize, (r + 1) * vocabSize);
      const top = Math.max(...row);
      const logsum = top + Math.log(row.reduce((n, x) => n + Math.exp(x - top), 0));
      expect(Math.abs(row[ids[4 + r]!]! - logsum - scores[3 + r]!)).toBeLessThan(1e-4);
    }
  });

  it("reads logits while others generate, and the rows asked for", async () => {
    const { ids } = golden.cases[3]!;
    const talking = engine.generate(ids, { temperature: 0, maxTokens: 12 }, silent);
    const [all, last] = await Promise.all([engine.logits(ids, "all"), engine.logits(ids, "last")]);
    await talking;
    expect(all.subarray(-engine.info.vocabSize).every((x, i) => x === last[i])).toBe(true);
  });

  it("ends an aborted generation with what it has, and frees its pages", async () => {
    const controller = new AbortController();
    let seen = 0;
    const result = await engine.generate(
      golden.cases[1]!.ids,
      { temperature: 0, maxTokens: 400 },
      (d) => (seen += d.ids.length) === 5 && controller.abort(),
      controller.signal,
    );
    expect([result.finishReason, result.ids.length]).toEqual(["abort", 5]);
    expect(engine.stats().pages.used).toBe(0);
    const before = await engine.generate([1, 2], { maxTokens: 5 }, silent, AbortSignal.abort());
    expect([before.finishReason, before.ids]).toEqual(["abort", []]);
    await expect(engine.logits([1, 2], "all", AbortSignal.abort())).rejects.toMatchObject({ name: "AbortError" });
  });

  it("ends at the context's end with reason length", async () => {
    const { contextTokens } = engine.info;
    const ids = Array.from({ length: contextTokens - 3 }, (_, i) => 300 + (i % 50));
    const result = await engine.generate(ids, { temperature: 1, seed: 1, maxTokens: 50 }, silent);
    expect(result.ids.length).toBeLessThanOrEqual(3);
    if (result.ids.length === 3) expect(result.finishReason).toBe("length");
  });

  it("refuses what it cannot run, and goes on", async () => {
    const generate = (input: never, options = {}) => engine.generate(input, options, silent);
    const { contextTokens, vocabSize } = engine.info;
    const long = Array.from({ length: contextTokens }, () => 5);
    await expect(generate(long as never)).rejects.toBeInstanceOf(ContextLengthError);
    await expect(engine.logits([...long, 5], "last")).rejects.toBeInstanceOf(ContextLengthError);
    await expect(generate([] as never)).rejects.toBeInstanceOf(ArgumentError);
    await expect(generate([vocabSize] as never)).rejects.toThrow(/not a token id/);
    await expect(generate([1.5] as never)).rejects.toBeInstanceOf(ArgumentError);
    await expect(generate("x" as never, { n: 99 })).rejects.toBeInstanceOf(ArgumentError);
    await expect(generate("x" as never, { maxTokens: 0 })).rejects.toBeInstanceOf(ArgumentError);
    await expect(generate("x" as never, { temperature: NaN })).rejects.toBeInstanceOf(ArgumentError);
    await expect(generate("x" as never, { stop: [""] })).rejects.toBeInstanceOf(ArgumentError);
    await expect(generate([{ role: "user", content: "hi" }] as never)).rejects.toBeInstanceOf(TemplateError);
    await expect(engine.logits([1, 2], [1, 1])).rejects.toBeInstanceOf(ArgumentError);
    await expect(engine.score([1])).rejects.toBeInstanceOf(ArgumentError);
    expect(await engine.generate([1, 2], { temperature: 0, maxTokens: 2 }, silent)).toBeTruthy();
    expect(engine.stats().pages.used).toBe(0);
  });

  it("refuses a request whose cache can never fit the pool", async () => {
    const small = await load(fixtureSource(EMBEDDED), {}, { poolTokens: 512, pageSize: 64 });
    await expect(small.generate([1, 2], { maxTokens: 500, n: 4 }, silent)).rejects.toBeInstanceOf(TooLargeError);
    await small.dispose();
  });

  it("ends what runs when it is disposed of, and refuses what comes later", async () => {
    const own = await load(fixtureSource(EMBEDDED));
    const running = own.generate([1, 2], { maxTokens: 300 }, silent);
    const ended = expect(running).rejects.toBeInstanceOf(DisposedError);
    await Promise.all([own.dispose(), own.dispose()]);
    await ended;
    expect(own.stats().gpuBytes.total).toBe(0);
    await expect(own.generate([1], {}, silent)).rejects.toBeInstanceOf(DisposedError);
  });
});
