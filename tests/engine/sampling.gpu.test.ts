/** What a request may ask of the draw, through the whole engine; the kernels have their own tests of each processor. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { InProcessEngine } from "../../src/engine/engine.ts";
import type { GenerationResult, SamplingOptions } from "../../src/engine/port.ts";
import { fixtureSource, readFixtureJson } from "../support/fixtures.ts";
import { EMBEDDED, load } from "./checkpoints.ts";

let engine: InProcessEngine;
let ids: number[];
let greedy: number[];

beforeAll(async () => {
  engine = await load(fixtureSource(EMBEDDED), { deterministic: true });
  const golden = await readFixtureJson<{ cases: { ids: number[] }[] }>("tests/fixtures/embedded/golden.json");
  ids = golden.cases[1]!.ids;
  greedy = (await run({ temperature: 0 })).ids;
});
afterAll(() => engine.dispose());

const run = (options: SamplingOptions, prompt = ids): Promise<GenerationResult> =>
  engine.generate(prompt, { maxTokens: 16, seed: 7, ...options }, () => undefined);

describe("sampling options", () => {
  it.each<[string, SamplingOptions]>([
    ["topK 1", { topK: 1 }],
    ["topP 0", { topP: 0 }],
    ["minP 1", { minP: 1 }],
    ["a bias that is the same for nobody but one token too rare to matter", { temperature: 0, logitBias: { 0: -1 } }],
  ])("%s is greedy", async (_, options) => {
    expect((await run(options)).ids).toEqual(greedy);
  });

  it("draws what it would without them where they change nothing", async () => {
    const plain = await run({ temperature: 1 });
    const processed = await run({ temperature: 1, topK: engine.info.vocabSize, logprobs: 0 });
    expect(processed.ids).toEqual(plain.ids);
  });

  it("is the same alone as in company that uses none", async () => {
    const options: SamplingOptions = { temperature: 1, topP: 0.8, repetitionPenalty: 1.3, seed: 3 };
    const alone = await run(options);
    const [together] = await Promise.all([run(options), run({ temperature: 1, seed: 5 }), run({ temperature: 0 })]);
    expect(together.ids).toEqual(alone.ids);
  });

  it("draws a token that a bias lifts above all, and never one that it bans", async () => {
    expect((await run({ temperature: 0, logitBias: { [greedy[3]!]: 1000 }, maxTokens: 3 })).ids).toEqual(
      new Array<number>(3).fill(greedy[3]!),
    );
    expect((await run({ temperature: 0, logitBias: { [greedy[0]!]: -1000 } })).ids).not.toContain(greedy[0]);
  });

  it("does not repeat a token of prompt or answer under a penalty that forbids it", async () => {
    const { ids: got } = await run({ temperature: 0, repetitionPenalty: 100, presencePenalty: 100 });
    expect(new Set(got).size).toBe(got.length);
    expect(got).not.toEqual(greedy);
  });

  it("counts a prompt that is in the cache already, and the answers of forks apart", async () => {
    const long = Array.from({ length: 150 }, (_, i) => ids[i % ids.length]!);
    const options: SamplingOptions = { temperature: 1, repetitionPenalty: 5, frequencyPenalty: 2, n: 2 };
    const first = await run(options, long);
    const before = engine.stats().prefix.hitTokens;
    const second = await run(options, long);
    expect(engine.stats().prefix.hitTokens).toBeGreaterThan(before);
    expect(second.choices).toEqual(first.choices);
  });

  it("gives log-probabilities that agree with score", async () => {
    const { ids: got, logprobs } = await run({ temperature: 1, topK: 20, logprobs: 3, maxTokens: 8 });
    expect(logprobs).toHaveLength(got.length);
    const scores = (await engine.score([...ids, ...got])).subarray(ids.length - 1);
    logprobs!.forEach(({ id, logprob, top }, i) => {
      expect(id).toBe(got[i]);
      expect(logprob).toBeCloseTo(scores[i]!, 4);
      expect(top).toHaveLength(3);
      expect(top[0]!.logprob).toBeGreaterThanOrEqual(Math.max(logprob, top[1]!.logprob));
    });
  });

  it.each<[SamplingOptions, RegExp]>([
    [{ temperature: -1 }, /temperature is -1/],
    [{ topK: 1.5 }, /topK is 1.5/],
    [{ topP: 2 }, /topP is 2/],
    [{ minP: -0.1 }, /minP is -0.1/],
    [{ repetitionPenalty: 0 }, /repetitionPenalty is 0/],
    [{ frequencyPenalty: Infinity }, /frequencyPenalty is Infinity/],
    [{ presencePenalty: NaN }, /presencePenalty is NaN/],
    [{ logprobs: 21 }, /logprobs is 21/],
    [{ logitBias: { 99999999: 1 } }, /logitBias names 99999999/],
    [{ logitBias: { 1: NaN } }, /logitBias of token 1/],
  ])("refuses %j", async (options, says) => {
    await expect((async () => run(options))()).rejects.toThrow(says);
  });
});

describe("a cache in bytes", () => {
  it("gives the same 64 tokens, or parts where the two best are close", async () => {
    const exact = await load(fixtureSource(EMBEDDED), { kv: "f32" });
    const bytes = await load(fixtureSource(EMBEDDED), { kv: "int8" });
    expect(bytes.info.kvBytesPerToken).toBeLessThan(0.6 * 0.5 * exact.info.kvBytesPerToken);
    const options = { temperature: 0, maxTokens: 64, logprobs: 2 };
    const [a, b] = await Promise.all([exact, bytes].map((e) => e.generate(ids, options, () => undefined)));
    const apart = a!.ids.findIndex((id, i) => id !== b!.ids[i]);
    if (apart >= 0) {
      const [best, next] = a!.logprobs![apart]!.top;
      expect(best!.logprob - next!.logprob).toBeLessThan(0.05);
    }
    expect(apart === -1 || apart > 3).toBe(true);
    await Promise.all([exact.dispose(), bytes.dispose()]);
  });
});
