/** The short form of scripts/soak.mjs: whatever comes and goes, an engine is left as it was, and a device without it. */
import { expect, it } from "vitest";
import { fixtureSource } from "../support/fixtures.ts";
import { leaks, soak } from "../support/soak.ts";
import { load } from "./checkpoints.ts";
import { watchedDevice } from "./device.ts";

const TINY = fixtureSource("tests/fixtures/llama/untied-f32");

it("leaves nothing behind after 60 random requests with cancels at any moment", async () => {
  const { device, live } = await watchedDevice();
  const engine = await load(TINY, { device }, { pageSize: 32, poolTokens: 384, slots: 10, maxRows: 32 });
  const held = { ...live };
  const options = { requests: 60, seed: 4, company: 14, measured: 0, heapBytes: () => 0 };
  const report = await soak(engine, options);
  expect(leaks(report, 60)).toEqual([]);
  expect(live).toEqual(held);
  // It is no calm life: each of these happens at this seed.
  expect(report.cancelled).toBeGreaterThan(5);
  expect(report.preemptions).toBeGreaterThan(0);
  expect(report.hitTokens).toBeGreaterThan(0);
  expect(Object.keys(report.kinds).sort()).toEqual(["generate", "logits", "score"]);
  await engine.dispose();
  expect(live).toEqual({ buffers: 0, bytes: 0 });
  device.destroy();
});

it("leaves no byte on a device after each of 20 loads", async () => {
  const { device, live } = await watchedDevice();
  const held = new Set<number>();
  for (let i = 0; i < 20; i++) {
    const engine = await load(TINY, { device }, { maxRows: 8, slots: 2 });
    const running = engine.generate([1, 2, 3], { temperature: 0, maxTokens: 100 }, () => undefined);
    if (i % 2)
      await running; // the others are disposed of in the middle
    else running.catch(() => undefined);
    held.add(live.bytes);
    expect(engine.stats().gpuBytes.total).toBe(live.bytes);
    await engine.dispose();
    expect(engine.stats().gpuBytes).toEqual({ total: 0, byKind: {} });
    expect(live).toEqual({ buffers: 0, bytes: 0 });
  }
  expect(held.size).toBe(1);
  device.destroy();
});
