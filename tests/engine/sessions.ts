/** What every model has to pass: a session that was saved and restored elsewhere goes on as if nothing had happened. */
import { expect } from "vitest";
import type { InProcessEngine } from "../../src/engine/engine.ts";
import type { SamplingOptions } from "../../src/engine/port.ts";

const silent = (): void => undefined;

/**
 * Generates, and generates again with a save, an end of the engine and a restore in the middle: the same tokens, and the cache
 * had all whole pages of the first half. `loadEngine` gives a fresh engine each time; those that it gave are disposed of.
 */
export async function savesAndRestores(
  loadEngine: () => Promise<InProcessEngine>,
  prompt: readonly number[],
  options: SamplingOptions = { temperature: 0 },
  { before = 8, after = 12 } = {},
): Promise<void> {
  const first = await loadEngine();
  const whole = await first.generate([...prompt], { ...options, maxTokens: before + after }, silent);
  await first.dispose();
  const second = await loadEngine();
  const { ids, seed } = await second.generate([...prompt], { ...options, maxTokens: before }, silent);
  const sampler = { ...(seed !== undefined && { seed }), drawn: ids.length };
  const bytes = await second.saveSession([...prompt, ...ids], sampler);
  await second.dispose();
  const third = await loadEngine();
  const restored = await third.restoreSession(bytes);
  expect(restored.ids).toEqual([...prompt, ...ids]);
  const { tokensPerPage } = third.stats().pages;
  expect(restored.cachedTokens).toBe(Math.floor(restored.ids.length / tokensPerPage) * tokensPerPage);
  const { seed: savedSeed, drawn } = restored;
  const rest = { ...options, maxTokens: after, ...(savedSeed !== undefined && { seed: savedSeed }), drawn: drawn! };
  const { ids: more } = await third.generate(restored.ids, rest, silent);
  const hits = Math.floor((restored.ids.length - 1) / tokensPerPage) * tokensPerPage;
  expect(third.stats().prefix.hitTokens).toBe(hits);
  expect([...ids, ...more].slice(0, whole.ids.length)).toEqual(whole.ids);
  expect(third.stats().pages.used).toBe(0);
  await third.dispose();
}
