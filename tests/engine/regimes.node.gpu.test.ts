/**
 * The rotary regime is a property of the request: one engine runs each in its own, as transformers does at that length,
 * whatever happens to it.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Engine } from "../../src/api/engine.ts";
import { ArgumentError, SessionError } from "../../src/base/errors.ts";
import type { InProcessEngine } from "../../src/engine/engine.ts";
import { loadRepo, type EngineTuning, type LoadOptions } from "../../src/engine/load.ts";
import type { Delta, GenerationResult, SamplingOptions } from "../../src/engine/port.ts";
import { readFixtureJson } from "../support/fixtures.ts";
import { memoryRepo } from "../support/memory.ts";
import { filesOf, loadFiles } from "./checkpoints.ts";
import { rowSource, worstError } from "./families.ts";
import { Losses } from "./losses.ts";

/** tools/oracle/families.py, `regimes`. */
interface RegimeGolden {
  /** Fields of the row's config that are changed. */
  config: Record<string, unknown>;
  ids: number[];
  /** By length, logits after so many ids. */
  whole: Record<string, number[]>;
  /** Ids of a prompt, and by regime the logits after it and what follows. */
  prompt: number;
  regimes: Record<string, { logits: number[]; greedy: number[] }>;
}

const BOUND = 1e-4;
const TUNING: EngineTuning = { pageSize: 32, slots: 4, maxRows: 64 };
/** Ids that the goldens go on for; what is left of maxTokens is not waited for. */
const STEPS = 24;
const silent = (): void => undefined;

async function filesWith(row: string, config: Record<string, unknown>): Promise<Record<string, Uint8Array>> {
  const files = await filesOf(rowSource(row));
  const published = JSON.parse(new TextDecoder().decode(files["config.json"])) as object;
  return { ...files, "config.json": new TextEncoder().encode(JSON.stringify({ ...published, ...config })) };
}

/** Log-probabilities of the best ids. */
function logprobsOf(logits: readonly number[]): { id: number; logprob: number }[] {
  const most = Math.max(...logits);
  const sum = Math.log(logits.reduce((all, x) => all + Math.exp(x - most), 0)) + most;
  const each = logits.map((x, id) => ({ id, logprob: x - sum }));
  return each.sort((a, b) => b.logprob - a.logprob).slice(0, 3);
}

describe.each(["phi3-longrope-long", "llama-dynamic-long"])("%s", (row) => {
  let golden: RegimeGolden;
  let files: Record<string, Uint8Array>;
  let engine: InProcessEngine;
  /** The longest requests of each regime. */
  let lengths: number[];
  let prompt: number[];
  const load = (options: LoadOptions = {}, tuning: EngineTuning = {}): Promise<InProcessEngine> =>
    loadFiles(memoryRepo(files), options, { ...TUNING, ...tuning });

  beforeAll(async () => {
    golden = await readFixtureJson<RegimeGolden>(`tests/fixtures/families/${row}/regimes.json`);
    files = await filesWith(row, golden.config);
    lengths = Object.keys(golden.regimes).map(Number);
    prompt = golden.ids.slice(0, golden.prompt);
    engine = await load();
  });
  afterAll(() => engine.dispose());

  /** The prompt's greedy continuation, up to the golden's last id or the end of maxTokens. */
  const start = async (options: SamplingOptions, from = engine, onFirst = silent): Promise<GenerationResult> => {
    const stop = new AbortController();
    let heard = 0;
    const onDelta = ({ ids }: Delta): void => {
      if (heard === 0) onFirst();
      heard += ids.length;
      if (heard >= STEPS) stop.abort();
    };
    const result = await from.generate(prompt, { temperature: 0, ...options }, onDelta, stop.signal);
    expect(result.ids.length).toBe(Math.min(STEPS, options.maxTokens ?? Infinity));
    return result;
  };
  /** Its ids as a request that becomes at most so long. */
  const greedy = async (longest: number, options: SamplingOptions = {}, from = engine): Promise<number[]> =>
    (await start({ maxTokens: longest - prompt.length, ...options }, from)).ids;
  const hitsOf = async (work: () => Promise<unknown>, of: InProcessEngine = engine): Promise<number> => {
    const before = of.stats().prefix.hitTokens;
    await work();
    return of.stats().prefix.hitTokens - before;
  };
  const expectedOf = (longest: number): number[] => golden.regimes[longest]!.greedy;

  it("says which regimes it has", () => {
    expect(engine.info.contextTokens).toBe(lengths.at(-1));
    expect(engine.info.regimes).toEqual(lengths);
  });

  it("has the logits of transformers just below, at and just above each boundary", async () => {
    for (const [length, expected] of Object.entries(golden.whole)) {
      const got = await engine.logits(golden.ids.slice(0, Number(length)), "last");
      const error = worstError(got, Float32Array.from(expected), engine.info.vocabSize);
      expect([length, error < BOUND ? "close" : error]).toEqual([length, "close"]);
    }
  });

  it("gives one prompt the regime of prompt and maxTokens together", async () => {
    for (const [i, longest] of lengths.entries()) {
      // From the first request past the regime before, to the last of this one.
      for (const length of [(lengths[i - 1] ?? golden.prompt) + 1, longest]) {
        const { ids, logprobs } = await start({ maxTokens: length - golden.prompt, logprobs: 3 });
        const expected = logprobsOf(golden.regimes[longest]!.logits);
        expect(logprobs![0]!.top.map(({ id }) => id)).toEqual(expected.map(({ id }) => id));
        logprobs![0]!.top.forEach(({ logprob }, k) => expect(logprob).toBeCloseTo(expected[k]!.logprob, 3));
        expect(ids).toEqual(expectedOf(longest).slice(0, ids.length));
      }
    }
    // No maxTokens: 512, cut to what the context holds.
    expect((await start({})).ids).toEqual(expectedOf(lengths.at(-1)!));
  });

  it("keeps regimes apart in one batch, with forks", async () => {
    const together = await Promise.all([...lengths, ...lengths.toReversed()].map((longest) => greedy(longest)));
    expect(together).toEqual([...lengths, ...lengths.toReversed()].map(expectedOf));
    const [longest] = lengths as [number];
    const beside = greedy(lengths.at(-1)!);
    const { choices } = await engine.generate(prompt, { temperature: 0, maxTokens: STEPS, n: 3 }, silent);
    expect(choices.map(({ ids }) => ids)).toEqual([1, 2, 3].map(() => expectedOf(longest)));
    expect(await beside).toEqual(expectedOf(lengths.at(-1)!));
    expect(engine.stats().pages.used).toBe(0);
  });

  it("shares no page between regimes", async () => {
    const other = await load();
    for (const longest of lengths) expect(await hitsOf(() => greedy(longest, {}, other), other)).toBe(0);
    for (const longest of lengths) expect(await hitsOf(() => greedy(longest, {}, other), other)).toBe(32);
    // Logits and scores have the regime of their ids.
    expect(await hitsOf(() => other.logits(prompt, "last"), other)).toBe(32);
    await other.dispose();
  });

  it("is kept by who is preempted", async () => {
    const tight = await load({}, { slots: 1 });
    for (const [i, longest] of lengths.entries()) {
      const other = lengths[(i + 1) % lengths.length]!;
      let high: Promise<number[]> | undefined;
      const onFirst = (): void => void (high = greedy(other, { priority: 1 }, tight));
      const { ids } = await start({ maxTokens: longest - prompt.length }, tight, onFirst);
      expect(ids).toEqual(expectedOf(longest));
      expect(await high).toEqual(expectedOf(other));
    }
    expect(tight.stats().preemptions).toBe(lengths.length);
    await tight.dispose();
  });

  it("is saved with a session, and found again by requests of that regime alone", async () => {
    const { ids } = golden;
    const saved = await Promise.all(lengths.map((longest) => engine.saveSession(prompt, { maxTokens: longest - 40 })));
    const byDefault = await engine.saveSession(prompt);
    expect(Buffer.from(byDefault).equals(Buffer.from(saved.at(-1)!))).toBe(true);
    expect(Buffer.from(byDefault).equals(Buffer.from(saved[0]!))).toBe(false);
    const other = await load();
    for (const [i, bytes] of saved.entries()) {
      const cacheSalt = String(i);
      expect(await other.restoreSession(bytes, { cacheSalt })).toMatchObject({ ids: prompt, cachedTokens: 32 });
      for (const longest of lengths) {
        let got: number[] = [];
        const hits = await hitsOf(async () => void (got = await greedy(longest, { cacheSalt }, other)), other);
        expect([longest, hits, ...got]).toEqual([longest, longest === lengths[i] ? 32 : 0, ...expectedOf(longest)]);
      }
    }
    // Ids as many as the context holds are of the last regime, with nothing to follow.
    const whole = await engine.saveSession(ids.slice(0, engine.info.contextTokens));
    expect((await other.restoreSession(whole)).ids).toHaveLength(engine.info.contextTokens);
    await other.dispose();
  });

  it("is refused by an engine that has no such regime, and none but that", async () => {
    const [short] = lengths as [number];
    const [fits, long] = await Promise.all(
      [short, short + 1].map((longest) => engine.saveSession(prompt, { maxTokens: longest - 40 })),
    );
    const other = await load({ contextTokens: short });
    expect(other.info.regimes).toBeUndefined();
    const refused = other.restoreSession(long!);
    await expect(refused).rejects.toThrow(SessionError);
    await expect(refused).rejects.toThrow(/longer requests than this engine takes/);
    expect(other.stats().prefix.cachedPages).toBe(0);
    await other.restoreSession(fits!);
    expect(await hitsOf(async () => expect(await greedy(short, {}, other)).toEqual(expectedOf(short)), other)).toBe(32);
    await other.dispose();
  });

  it("is kept on another device, when the first one is lost", { timeout: 300_000 }, async () => {
    const losses = await Losses.stage();
    const own = await loadRepo(memoryRepo(files), { kv: "f32" }, { ...TUNING, maxRows: 8 });
    losses.arm("submit", 12);
    const got = await Promise.all(lengths.map((longest) => greedy(longest, {}, own)));
    expect(got).toEqual(lengths.map(expectedOf));
    expect([losses.pending, own.stats().recoveries]).toEqual([0, 1]);
    await own.dispose();
    losses.restore();
  });
});

describe("the public engine", () => {
  it("says its regimes, and saves a session for as many tokens as are to follow", async () => {
    const engine = await Engine.load(rowSource("phi3-longrope-long"), { kv: "f32" });
    expect(engine.model.regimes).toEqual([64, 128]);
    const ids = Array.from({ length: 40 }, (_, i) => 2 + i);
    const saved: Uint8Array[] = [];
    for (const maxTokens of [1, 24, 25, 88, 1000]) saved.push(await engine.saveSession(ids, { maxTokens }));
    const [first, last] = [saved[0]!, saved.at(-1)!];
    expect(Buffer.from(first).equals(last)).toBe(false);
    expect(saved.map((bytes) => Buffer.from(bytes).equals(first))).toEqual([true, true, false, false, false]);
    expect(saved.map((bytes) => Buffer.from(bytes).equals(last))).toEqual([false, false, true, true, true]);
    await expect(engine.saveSession(ids, { maxTokens: 0 })).rejects.toThrow(ArgumentError);
    await engine.dispose();
  });
});

describe("latent attention", () => {
  it("turns queries and keys by the request's regime, in prompts and one by one", async () => {
    const [theta, original, factor, dim] = [10_000, 16, 2, 8];
    const ids = Array.from({ length: 28 }, (_, i) => 2 + ((i * 37) % 100));
    const tuning = { ...TUNING, maxRows: 8, slots: 1 }; // few programs: most of the time goes into compiling
    const load = async (config: Record<string, unknown>): Promise<InProcessEngine> =>
      loadFiles(memoryRepo(await filesWith("deepseek_v2-lite", config)), {}, tuning);
    const rope_scaling = { type: "dynamic", factor };
    const engine = await load({ rope_theta: theta, max_position_embeddings: original, rope_scaling });
    expect(engine.info.regimes).toEqual([16, 32]);
    // What dynamic NTK is at one length: a larger base.
    const base = theta * ((factor * 32) / original - (factor - 1)) ** (dim / (dim - 2));
    const plain = await load({ rope_theta: base, max_position_embeddings: 32, rope_scaling: null });
    expect(plain.info.regimes).toBeUndefined();
    const logits = await Promise.all([engine, plain].map((of) => of.logits(ids, "all")));
    expect(worstError(logits[0]!, logits[1]!, engine.info.vocabSize)).toBeLessThan(1e-6);
    const short = await Promise.all([engine, plain].map((of) => of.logits(ids.slice(0, 16), "last")));
    expect(worstError(short[0]!, short[1]!, engine.info.vocabSize)).toBeGreaterThan(1e-3);
    const options = { temperature: 0, maxTokens: 4, logprobs: 1 };
    const [got, expected] = await Promise.all([engine, plain].map((of) => of.generate(ids, options, silent)));
    expect(got!.ids).toEqual(expected!.ids);
    got!.logprobs!.forEach(({ logprob }, i) => expect(logprob).toBeCloseTo(expected!.logprobs![i]!.logprob, 5));
    await Promise.all([engine.dispose(), plain.dispose()]);
  });
});
