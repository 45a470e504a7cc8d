/** An abort, wherever it comes, ends a request with the steps that are under way, frees its pages, and disturbs nobody. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { AbortError } from "../../src/base/errors.ts";
import type { InProcessEngine } from "../../src/engine/engine.ts";
import type { SamplingOptions } from "../../src/engine/port.ts";
import { fixtureSource } from "../support/fixtures.ts";
import { load } from "./checkpoints.ts";
import { watchedDevice } from "./device.ts";

const LOOK_AHEAD = 3;
const idsOf = (seed: number, length: number): number[] =>
  Array.from({ length }, (_, i) => 2 + ((seed * 37 + i * i * 11 + i * 5) % 200));
const silent = (): void => undefined;

let engine: InProcessEngine;
let device: GPUDevice;
let submits = 0;
/** Called after the submit of this number. */
let onSubmit: { at: number; act: () => void } | undefined;
/** What the other request gives when nobody is aborted beside it. */
let undisturbed: number[];

const OTHER = idsOf(1, 20);
const other = async (): Promise<number[]> =>
  (await engine.generate(OTHER, { temperature: 0, maxTokens: 30 }, silent)).ids;

beforeAll(async () => {
  ({ device } = await watchedDevice());
  const { queue } = device;
  const submit = queue.submit.bind(queue);
  queue.submit = (buffers) => {
    submit(buffers);
    if (onSubmit?.at === submits++) onSubmit.act();
  };
  Object.defineProperty(device, "queue", { value: queue });
  const tuning = { pageSize: 32, maxRows: 8, slots: 4, lookAhead: LOOK_AHEAD };
  engine = await load(fixtureSource("tests/fixtures/llama/untied-f32"), { device }, tuning);
  undisturbed = await other();
});
afterAll(async () => {
  await engine.dispose();
  device.destroy();
});

type Call = (signal: AbortSignal, onDelta: () => void) => Promise<unknown>;
const generating =
  (length: number, options: SamplingOptions = {}): Call =>
  (signal, onDelta) =>
    engine.generate(idsOf(length, length), { temperature: 0, maxTokens: 150, ...options }, onDelta, signal);
const penalties = { repetitionPenalty: 1.2, topK: 9, logprobs: 2, seed: 1, temperature: 1 };

/** Who is aborted, and when: before the call, right after it, at a submit or a delta from then on. */
type When = "before" | "after" | { submit: number } | { delta: number };
const POINTS: [name: string, call: Call, when: When][] = [
  ["before it begins", generating(40), "before"],
  ["before its first step", generating(40), "after"],
  ["in its first step", generating(40), { submit: 0 }],
  ["in a chunk of its prompt", generating(80), { submit: 4 }],
  ["where its prompt forks", generating(23, { n: 3 }), { submit: 3 }],
  ["while it decodes", generating(10), { submit: 20 }],
  ["while it decodes with penalties", generating(10, penalties), { submit: 15 }],
  ["by who hears its tokens", generating(10, { n: 2, temperature: 1, seed: 3 }), { delta: 5 }],
  ["while its logits are read", (signal) => engine.logits(idsOf(3, 90), "all", signal), { submit: 5 }],
  ["while it is scored", (signal) => engine.score(idsOf(4, 90), signal), { submit: 5 }],
];

it.each(POINTS)("%s", async (_, call, when) => {
  const controller = new AbortController();
  let deltas = 0;
  let abortedAt: number | undefined;
  let deltasThen = 0;
  const abort = (): void => {
    abortedAt = submits;
    deltasThen = deltas;
    controller.abort();
  };
  const bystander = other();
  if (when === "before") abort();
  onSubmit = typeof when === "object" && "submit" in when ? { at: submits + when.submit, act: abort } : undefined;
  const aborted = call(controller.signal, () => {
    if (++deltas === (typeof when === "object" && "delta" in when ? when.delta : -1)) abort();
  });
  if (when === "after") abort();
  const result = await aborted.catch((error: unknown) => error);
  expect(abortedAt).toBeDefined();
  // Steps under way go on; none was begun for it, and the other one's next may have been.
  expect(submits - abortedAt!).toBeLessThanOrEqual(LOOK_AHEAD + 1);
  expect(deltas - deltasThen).toBe(0);
  if (result instanceof AbortError) expect(deltas).toBe(0);
  else expect(result).toMatchObject({ finishReason: "abort" });
  // One page or two are the other one's.
  expect(engine.stats().pages.used).toBeLessThanOrEqual(2);
  expect(await bystander).toEqual(undisturbed);
  expect(engine.stats()).toMatchObject({ running: 0, waiting: 0, pages: { used: 0, shared: 0 } });
});

it("while it waits for a slot", async () => {
  const controller = new AbortController();
  const running = [0, 1].map(() =>
    generating(12, { n: 2, temperature: 1, maxTokens: 12, seed: 5 })(new AbortController().signal, silent),
  );
  const waiting = generating(30)(controller.signal, silent);
  await expect.poll(() => engine.stats(), { interval: 1 }).toMatchObject({ running: 4, waiting: 1 });
  const before = submits;
  controller.abort();
  expect(await waiting).toMatchObject({ finishReason: "abort", ids: [] });
  expect(submits - before).toBeLessThanOrEqual(1);
  await Promise.all(running);
  expect(engine.stats().pages.used).toBe(0);
});
