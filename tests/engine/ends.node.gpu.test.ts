/** The GPU knows an end token when it draws one: the steps that are under way by then draw nothing more. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { STATE_WORDS } from "../../src/kernels/batch.ts";
import type { InProcessEngine } from "../../src/engine/engine.ts";
import { openGpu } from "../../src/gpu/device.ts";
import { fixtureSource } from "../support/fixtures.ts";
import { readBuffer } from "../support/kernel-bench.ts";
import { memoryRepo } from "../support/memory.ts";
import { filesOf, load, loadFiles } from "./checkpoints.ts";

const TINY = fixtureSource("tests/fixtures/llama/untied-f32");
const PROMPT = [3, 1, 4, 1, 5, 9, 2, 6];
const SLOTS = 4;
const FILTERED = { temperature: 0, topK: 3, logprobs: 1 };
const silent = (): void => undefined;

let device: GPUDevice;
let states: GPUBuffer | undefined;
let engine: InProcessEngine;
/** Greedy ids, the last of which ends the engine under test. */
let ids: number[];

beforeAll(async () => {
  const plain = await load(TINY);
  const all = (await plain.generate(PROMPT, { temperature: 0, maxTokens: 40 }, silent)).ids;
  await plain.dispose();
  // A token that comes late for the first time.
  const at = all.findLastIndex((id, i) => i < 30 && all.indexOf(id) === i);
  ids = all.slice(0, at + 1);
  ({ device } = await openGpu());
  const create = device.createBuffer.bind(device);
  device.createBuffer = (descriptor) => {
    const buffer = create(descriptor);
    if (descriptor.label === "sequence state") states = buffer;
    return buffer;
  };
  const files = await filesOf(TINY);
  const published = JSON.parse(new TextDecoder().decode(files["config.json"])) as object;
  const config = { ...published, eos_token_id: [0, ids.at(-1)] };
  const { "generation_config.json": _, ...rest } = files;
  const repo = memoryRepo({ ...rest, "config.json": new TextEncoder().encode(JSON.stringify(config)) });
  engine = await loadFiles(repo, { device }, { slots: SLOTS, lookAhead: 6 });
  // What filters need is compiled, so that all requests of a test run side by side, each in a slot of its own.
  await engine.generate(PROMPT, { ...FILTERED, maxTokens: 1 }, silent);
});
afterAll(async () => {
  await engine.dispose();
  device.destroy();
});

it("draws nothing behind it, however many steps are under way", async () => {
  expect(ids.length).toBeGreaterThan(3);
  const results = await Promise.all([
    engine.generate(PROMPT, { temperature: 0, maxTokens: 40 }, silent),
    engine.generate(PROMPT, { temperature: 0, maxTokens: 2 }, silent),
    engine.generate(PROMPT, { ...FILTERED, maxTokens: 40 }, silent),
  ]);
  const whole = ids.slice(0, -1);
  expect(results.map((r) => [r.finishReason, r.ids])).toEqual([
    ["stop", whole],
    ["length", whole.slice(0, 2)],
    ["stop", whole],
  ]);
  await device.queue.onSubmittedWorkDone();
  const words = new Uint32Array(await readBuffer(device, states!, SLOTS * STATE_WORDS * 4));
  const slots = Array.from({ length: SLOTS }, (_, slot) => words.subarray(slot * STATE_WORDS));
  const ended = slots.filter((state) => state[6] === 1).map((state) => ({ token: state[2], draws: state[3] }));
  expect(ended).toEqual(new Array(2).fill({ token: ids.at(-1), draws: ids.length }));
});
