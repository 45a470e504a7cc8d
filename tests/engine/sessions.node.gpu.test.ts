/** Sessions saved and restored: the same tokens as without, and nothing but an error from bytes that do not fit. */
import { describe, expect, it } from "vitest";
import { AbortError, ArgumentError, ContextLengthError, SessionError } from "../../src/base/errors.ts";
import type { InProcessEngine } from "../../src/engine/engine.ts";
import type { EngineTuning, LoadOptions } from "../../src/engine/load.ts";
import type { SamplingOptions } from "../../src/engine/port.ts";
import { fixtureSource } from "../support/fixtures.ts";
import { load } from "./checkpoints.ts";
import { readGolden, rowSource } from "./families.ts";
import { savesAndRestores } from "./sessions.ts";

const TINY = fixtureSource("tests/fixtures/llama/untied-f32");
const silent = (): void => undefined;
const PAGES: EngineTuning = { pageSize: 32 };
const tiny = (options: LoadOptions = {}, tuning: EngineTuning = PAGES): Promise<InProcessEngine> =>
  load(TINY, options, tuning);

/** Ids without meaning, the same for the same seed. */
function idsOf(seed: number, length: number): number[] {
  let state = seed + 1;
  return Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return 2 + ((state >>> 8) % 206);
  });
}

const GREEDY: SamplingOptions = { temperature: 0 };
const DRAWN: SamplingOptions = { temperature: 1, seed: 5 };
const PENALISED: SamplingOptions = { ...DRAWN, frequencyPenalty: 1.5, presencePenalty: 0.5, repetitionPenalty: 1.2 };

describe("a restored session goes on as the one that was saved", () => {
  it.each([
    ["f32", "greedy", GREEDY],
    ["f32", "drawn", DRAWN],
    ["f32", "penalised", PENALISED],
    ["f16", "greedy", GREEDY],
    ["f16", "drawn", DRAWN],
    ["int8", "greedy", GREEDY],
    ["int8", "drawn", DRAWN],
  ] as const)("%s pages, %s", async (kv, _, options) => {
    await savesAndRestores(() => tiny({ kv }), idsOf(1, 70), options);
  });

  const OTHERS = [
    "mistral-window",
    "gemma2",
    "gemma3_text",
    "qwen2-window",
    "gpt_oss",
    "qwen3_moe",
    "deepseek_v2-lite",
  ];
  it.each(OTHERS)("%s", async (row) => {
    const { ids, contextTokens } = await readGolden(row);
    const prompt = [...ids, ...ids].slice(0, 75);
    await savesAndRestores(() => load(rowSource(row), { contextTokens }, PAGES), prompt);
  });

  it("with an end at a page's last entry, or short of the first page", async () => {
    await savesAndRestores(tiny, idsOf(2, 56)); // 8 more: two pages of 32
    await savesAndRestores(tiny, idsOf(3, 9));
  });

  it("on pages of another size", async () => {
    const ids = idsOf(4, 140);
    const engine = await tiny();
    const expected = (await engine.generate(ids, GREEDY, silent)).ids;
    const bytes = await engine.saveSession(ids);
    await engine.dispose();
    for (const pageSize of [32, 64, 128]) {
      const other = await tiny({}, { pageSize });
      const { cachedTokens } = await other.restoreSession(bytes);
      expect(cachedTokens).toBe(128);
      expect((await other.generate(ids, GREEDY, silent)).ids).toEqual(expected);
      expect(other.stats().prefix.hitTokens).toBe(128);
      await other.dispose();
    }
  });
});

describe("a saved session", () => {
  it("is the same bytes again when it is saved after it was restored, in company too", async () => {
    const ids = idsOf(5, 96);
    const engine = await tiny();
    const bytes = await engine.saveSession(ids, { seed: 7, drawn: 3 });
    await engine.dispose();
    const other = await tiny();
    const busy = other.generate(idsOf(6, 60), { ...GREEDY, maxTokens: 40 }, silent);
    expect(await other.restoreSession(bytes)).toEqual({ ids, seed: 7, drawn: 3, cachedTokens: 96 });
    const again = await other.saveSession(ids, { seed: 7, drawn: 3 });
    expect(Buffer.from(again).equals(Buffer.from(bytes))).toBe(true);
    await busy;
    expect(other.stats().pages.used).toBe(0);
    await other.dispose();
  });

  it("is found by requests of its salt alone, and gives way to others in time", async () => {
    const ids = idsOf(7, 70);
    const engine = await tiny({}, { ...PAGES, poolTokens: 256 });
    const bytes = await engine.saveSession(ids, { cacheSalt: "somebody" });
    const hitsOf = async (options: SamplingOptions): Promise<number> => {
      const before = engine.stats().prefix.hitTokens;
      await engine.generate(ids, { ...GREEDY, maxTokens: 1, ...options }, silent);
      return engine.stats().prefix.hitTokens - before;
    };
    await engine.restoreSession(bytes, { cacheSalt: "me" });
    expect([await hitsOf({ cacheSalt: "me" }), await hitsOf({ cacheSalt: "another" })]).toEqual([64, 0]);
    await engine.generate(idsOf(8, 200), { ...GREEDY, maxTokens: 50 }, silent); // the whole pool
    expect(await hitsOf({ cacheSalt: "me" })).toBe(0);
    await engine.dispose();
  });

  it("waits for room like any other request, and ends with the caller's patience", async () => {
    const ids = idsOf(9, 200);
    const engine = await tiny({}, { ...PAGES, poolTokens: 256, slots: 2 });
    const bytes = await engine.saveSession(ids);
    const busy = engine.generate(idsOf(10, 150), { ...GREEDY, maxTokens: 60 }, silent);
    const [{ cachedTokens }] = await Promise.all([engine.restoreSession(bytes), busy]);
    expect(cachedTokens).toBe(192);
    const stop = new AbortController();
    const saving = engine.saveSession(idsOf(11, 200), {}, stop.signal);
    const restoring = engine.restoreSession(bytes, {}, stop.signal);
    stop.abort();
    await expect(saving).rejects.toThrow(AbortError);
    await expect(restoring).rejects.toThrow(AbortError);
    await expect(engine.restoreSession(bytes, {}, stop.signal)).rejects.toThrow(AbortError);
    await engine.generate([1], { ...GREEDY, maxTokens: 1 }, silent);
    const { pages, running, waiting } = engine.stats();
    expect([pages.used, running, waiting]).toEqual([0, 0, 0]);
    await engine.dispose();
  });
});

describe("bytes that do not fit", () => {
  it("are refused wherever they are damaged, and nothing changes", async () => {
    const engine = await tiny();
    const bytes = await engine.saveSession(idsOf(12, 40), { seed: 1 });
    const other = await tiny();
    const before = JSON.stringify(other.stats());
    const headerBytes = Number(new DataView(bytes.buffer).getBigUint64(0, true));
    const places = Array.from({ length: 60 }, (_, i) => Math.floor((i / 59) * (bytes.length - 1)));
    const inHeader = Array.from({ length: 60 }, (_, i) => Math.floor((i / 60) * (headerBytes + 8)));
    for (const at of [...places, ...inHeader]) {
      const damaged = bytes.slice();
      damaged[at]! ^= 1;
      await expect(other.restoreSession(damaged), `byte ${at}`).rejects.toThrow(SessionError);
    }
    for (const length of [0, 7, 8, 100, headerBytes + 8, bytes.length - 1]) {
      await expect(other.restoreSession(bytes.slice(0, length))).rejects.toThrow(SessionError);
    }
    await expect(other.restoreSession(Uint8Array.of(...bytes, 0))).rejects.toThrow(SessionError);
    expect(JSON.stringify(other.stats())).toBe(before);
    expect((await other.restoreSession(bytes)).ids).toEqual(idsOf(12, 40));
    await Promise.all([engine.dispose(), other.dispose()]);
  });

  it("are refused where model, weights, cache or positions are others, with the reason", async () => {
    const reasonOf = async (bytes: Uint8Array, options: LoadOptions, source = TINY): Promise<string> => {
      const engine = await load(source, options, PAGES);
      const error = await engine.restoreSession(bytes).then(
        () => new Error("it was restored"),
        (reason: Error) => reason,
      );
      await engine.dispose();
      return error instanceof SessionError ? `${error.reason}: ${error.message}` : String(error);
    };
    const engine = await tiny();
    const bytes = await engine.saveSession(idsOf(13, 40));
    await engine.dispose();
    expect(await reasonOf(bytes, { kv: "f16" })).toMatch(/^cache: .*format/);
    expect(await reasonOf(bytes, { weights: "q8" })).toMatch(/^model: .*weight format/);
    const other = fixtureSource("tests/fixtures/llama/bias-f16");
    expect(await reasonOf(bytes, {}, other)).toMatch(/^model: .*another model/);
    const long = await load(rowSource("llama-dynamic-long"), { contextTokens: 128 }, PAGES);
    const stretched = await long.saveSession(idsOf(14, 40).map((id) => id % 100));
    await long.dispose();
    expect(await reasonOf(stretched, { contextTokens: 64 }, rowSource("llama-dynamic-long"))).toMatch(
      /^cache: .*positions/,
    );
  });

  it("are refused where they are longer than this context, or no bytes at all", async () => {
    const engine = await tiny();
    const bytes = await engine.saveSession(idsOf(15, 100));
    await expect(engine.restoreSession("no" as unknown as Uint8Array)).rejects.toThrow(ArgumentError);
    await expect(engine.saveSession([])).rejects.toThrow(ArgumentError);
    await expect(engine.saveSession([1, 2], { drawn: 3 })).rejects.toThrow(ArgumentError);
    await expect(engine.saveSession(idsOf(1, 5000))).rejects.toThrow(ContextLengthError);
    await engine.dispose();
    const small = await tiny({ contextTokens: 64 });
    await expect(small.restoreSession(bytes)).rejects.toThrow(ContextLengthError);
    await small.dispose();
  });
});
