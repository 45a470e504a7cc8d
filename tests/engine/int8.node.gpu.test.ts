/** What 8-bit pages cost and what they lose, on a model that was trained: stories260K over the first of its validation stories. */
import { readFile } from "node:fs/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { entryBytes } from "../../src/engine/cache.ts";
import type { InProcessEngine } from "../../src/engine/engine.ts";
import { sharedSource } from "../support/fixtures.ts";
import { greedy, load } from "./checkpoints.ts";

const source = sharedSource("models/stories260K/f32");
const corpus = sharedSource("corpora/tinystories");

it("takes 0.53 of f16's bytes at most, at heads of 64", () => {
  const spec = { kind: "kv", layers: 1, heads: 3, headDim: 64 } as const;
  expect(entryBytes(spec, "int8") / entryBytes(spec, "f16")).toBeLessThanOrEqual(0.53);
});

describe.skipIf(!source || !corpus)("stories260K with 8-bit pages", () => {
  let exact: InProcessEngine;
  let rounded: InProcessEngine;
  let stories: number[][];
  beforeAll(async () => {
    exact = await load(source!);
    rounded = await load(source!, { kv: "int8" });
    const text = await readFile(`${corpus!}/valid.txt`, "utf8");
    const all = text.split("<|endoftext|>").map((story) => story.trim());
    stories = await Promise.all(all.slice(0, 6).map((story) => exact.encode(story)));
    stories = stories.map((ids) => ids.slice(0, exact.info.contextTokens));
  });
  afterAll(() => Promise.all([exact.dispose(), rounded.dispose()]));

  it("has at most 0.4 % more perplexity", async () => {
    const nats = async (engine: InProcessEngine): Promise<number> => {
      const scores = await Promise.all(stories.map((ids) => engine.score(ids)));
      const total = scores.reduce((sum, s) => sum - s.reduce((a, b) => a + b, 0), 0);
      return total / scores.reduce((n, s) => n + s.length, 0);
    };
    const ratio = Math.exp((await nats(rounded)) - (await nats(exact)));
    expect(ratio).toBeGreaterThan(0.99);
    expect(ratio).toBeLessThanOrEqual(1.004);
  });

  it("gives the same 64 greedy tokens, or parts ways where the two best are nearer than its error", async () => {
    for (const ids of stories.slice(0, 4).map((story) => story.slice(0, 40))) {
      const [a, b] = [await greedy(exact, ids, 64), await greedy(rounded, ids, 64)];
      const at = a.findIndex((id, i) => id !== b[i]);
      if (at < 0) continue;
      const known = [...ids, ...a.slice(0, at)];
      const [right, wrong] = [await exact.logits(known, "last"), await rounded.logits(known, "last")];
      const error = right.reduce((most, x, i) => Math.max(most, Math.abs(x - wrong[i]!)), 0);
      const margin = right[a[at]!]! - right[b[at]!]!;
      expect(margin, `after ${at} tokens`).toBeLessThanOrEqual(2 * error);
    }
  });
});
