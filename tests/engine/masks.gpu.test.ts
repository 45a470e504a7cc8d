/** What a caller says between two tokens, before they are drawn: which may come, and who goes first. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ArgumentError } from "../../src/base/errors.ts";
import type { InProcessEngine } from "../../src/engine/engine.ts";
import type { AllowedTokens, GenerationResult, SamplingOptions } from "../../src/engine/port.ts";
import { fixtureSource } from "../support/fixtures.ts";
import { load } from "./checkpoints.ts";

const TINY = fixtureSource("tests/fixtures/llama/untied-f32");
const PROMPT = [5, 77, 12, 140, 9, 33];
let engine: InProcessEngine;

beforeAll(async () => {
  engine = await load(TINY, {}, { pageSize: 32, lookAhead: 3 });
});
afterAll(() => engine.dispose());

const run = (options: SamplingOptions, allowed?: AllowedTokens, prompt = PROMPT): Promise<GenerationResult> =>
  engine.generate(prompt, { maxTokens: 12, temperature: 0, ...options }, () => undefined, undefined, allowed);

describe("allowed tokens", () => {
  it("are all that is drawn, greedily the best of them at each step", async () => {
    const odd = Array.from({ length: 100 }, (_, i) => 2 * i + 3);
    const even = odd.map((id) => id + 1);
    const { ids } = await run({}, (generated) => (generated.length % 2 ? even : odd));
    expect(ids.map((id) => id % 2)).toEqual(ids.map((_, i) => (i % 2 ? 0 : 1)));
    for (const [i, id] of ids.entries()) {
      const logits = await engine.logits([...PROMPT, ...ids.slice(0, i)], "last");
      const list = i % 2 ? even : odd;
      expect(id).toBe(list.reduce((best, other) => (logits[other]! > logits[best]! ? other : best)));
    }
  });

  it("are asked for once a token, with what a choice has generated so far", async () => {
    const asked: [number, number[]][] = [];
    const allowed: AllowedTokens = (generated, index) => {
      asked.push([index, [...generated]]);
      return null;
    };
    const { choices } = await run({ n: 2, temperature: 1, seed: 4, maxTokens: 5 }, allowed);
    const plain = await run({ n: 2, temperature: 1, seed: 4, maxTokens: 5 });
    expect(choices.map((c) => c.ids)).toEqual(plain.choices.map((c) => c.ids));
    for (const { index, ids } of choices) {
      const own = asked.filter(([choice]) => choice === index).map(([, generated]) => generated);
      expect(own).toEqual(Array.from({ length: Math.min(5, ids.length + 1) }, (_, i) => ids.slice(0, i)));
    }
  });

  it("hold with filters, penalties and log-probabilities too, and leave the company alone", async () => {
    const list = [20, 21, 22, 23];
    const beside = run({ temperature: 1, seed: 9, maxTokens: 30 });
    const options = { temperature: 1, seed: 3, topK: 3, frequencyPenalty: 0.5, logprobs: 4 };
    const { ids, logprobs } = await run(options, () => list);
    expect(ids.every((id) => list.includes(id))).toBe(true);
    expect(logprobs!.every(({ top }) => top.length === 4 && top.every(({ id }) => list.includes(id)))).toBe(true);
    expect((await beside).ids).toEqual((await run({ temperature: 1, seed: 9, maxTokens: 30 })).ids);
    // A slot's mask goes with its request: the next one is not masked.
    const free = await run({ temperature: 1, seed: 3 });
    expect(free.ids.some((id) => !list.includes(id))).toBe(true);
  });

  it("may be an end token alone", async () => {
    const [end] = engine.info.eosIds;
    const { ids, finishReason } = await run({}, (generated) => (generated.length < 4 ? null : [end!]));
    expect([ids.length <= 4, finishReason]).toEqual([true, "stop"]);
  });

  it("refuse what is no list of ids, and hand on what the function throws", async () => {
    await expect(run({}, () => [])).rejects.toThrow(ArgumentError);
    await expect(run({}, () => [208])).rejects.toThrow(/not a token id/);
    await expect(run({}, (ids) => (ids.length < 3 ? null : [-1]))).rejects.toThrow(ArgumentError);
    const mine = new Error("mine");
    const fails: AllowedTokens = ({ length }) => {
      if (length === 2) throw mine;
      return null;
    };
    await expect(run({ n: 2, temperature: 1, seed: 1 }, fails)).rejects.toBe(mine);
    await run({ maxTokens: 1 });
    const { pages, running, waiting } = engine.stats();
    expect([pages.used, running, waiting]).toEqual([0, 0, 0]);
  });
});

describe("draws made before", () => {
  it("are counted on, so that an answer in parts is the answer in one", async () => {
    // Below zero they make a token likelier that was drawn before, so that it matters which those are.
    for (const more of [{}, { repetitionPenalty: 1.3 }, { frequencyPenalty: -2, presencePenalty: -1.5 }]) {
      const options = { temperature: 1, seed: 21, ...more };
      const { ids, seed } = await run({ ...options, maxTokens: 18 });
      expect(seed).toBe(21);
      for (const cut of [1, 7, 12]) {
        const prompt = [...PROMPT, ...ids.slice(0, cut)];
        const rest = await run({ ...options, maxTokens: 18 - cut, drawn: cut }, undefined, prompt);
        expect(rest.ids).toEqual(ids.slice(cut));
      }
    }
  });

  it("are no more than the ids there are; a seed that was chosen for the caller is told", async () => {
    await expect(run({ drawn: 7 })).rejects.toThrow(/drawn is 7/);
    const { ids, seed } = await run({ temperature: 1 });
    expect((await run({ temperature: 1, seed: seed! })).ids).toEqual(ids);
    expect((await run({})).seed).toBeUndefined();
  });
});

describe("priority and salt", () => {
  it("let a later request go first, and keep prompts apart", async () => {
    const small = await load(TINY, {}, { pageSize: 32, slots: 1 });
    const ended: string[] = [];
    const wait = async (name: string, options: SamplingOptions): Promise<void> => {
      await small.generate([...PROMPT, ...PROMPT], { maxTokens: 20, temperature: 0, ...options }, () => undefined);
      ended.push(name);
    };
    await Promise.all([wait("low", { priority: -1 }), wait("plain", {}), wait("high", { priority: 1 })]);
    expect(ended).toEqual(["high", "plain", "low"]);
    const long = Array.from({ length: 40 }, (_, i) => 2 + i);
    const hits = async (options: SamplingOptions): Promise<number> => {
      const before = small.stats().prefix.hitTokens;
      await small.generate(long, { maxTokens: 1, temperature: 0, ...options }, () => undefined);
      return small.stats().prefix.hitTokens - before;
    };
    const all = [await hits({}), await hits({ cacheSalt: "a" }), await hits({ cacheSalt: "a" }), await hits({})];
    expect(all).toEqual([0, 0, 32, 32]);
    await expect(small.generate([1], { priority: NaN }, () => undefined)).rejects.toThrow(ArgumentError);
    await small.dispose();
  });
});
