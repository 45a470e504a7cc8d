/** `weights: "auto"` on a device: what a budget is said to hold is held, and what the driver refuses is tried in fewer bits. */
import { describe, expect, it } from "vitest";
import { OutOfMemoryError } from "../../src/base/errors.ts";
import { neededBytes } from "../../src/engine/auto-weights.ts";
import { readCheckpoint } from "../../src/engine/inspect.ts";
import { loadEngine } from "../../src/engine/load.ts";
import { openRepo } from "../../src/store/repo.ts";
import { fixtureSource } from "../support/fixtures.ts";
import { load } from "./checkpoints.ts";
import { watchedDevice } from "./device.ts";

const EMBEDDED = fixtureSource("demo/public/model");
const IDS = [0, 36, 91, 300, 12];

describe("auto", () => {
  it.each(["published", "q8", "q4"] as const)("loads %s in the bytes that it was said to need", async (wanted) => {
    const checkpoint = await readCheckpoint(await openRepo(EMBEDDED, {}), { kv: "f32" });
    const plan = checkpoint.plan.as(wanted);
    const memoryBytes = neededBytes(plan, checkpoint);
    const engine = await load(EMBEDDED, { weights: "auto", memoryBytes });
    expect(engine.info.weights).toMatchObject({ format: plan.dominant, bytes: plan.residentBytes });
    const logits = await engine.logits(IDS, "last");
    expect(logits.some((x) => x > 1) && logits.every(Number.isFinite)).toBe(true);
    expect(engine.stats().gpuBytes.total).toBeLessThanOrEqual(memoryBytes);
    // One context of cache at least.
    expect(engine.stats().pages.total * engine.stats().pages.tokensPerPage).toBeGreaterThanOrEqual(512);
    await engine.dispose();
    await expect(loadEngine(EMBEDDED, { weights: "auto", memoryBytes: 1e6 })).rejects.toThrow(OutOfMemoryError);
  });

  it("goes on with fewer bits where the driver refuses a buffer, and says so", async () => {
    const watched = await watchedDevice();
    watched.failAt(12, "scope");
    const engine = await load(EMBEDDED, { weights: "auto", device: watched.device });
    expect(engine.info.weights.format).toBe("q8");
    expect(engine.info.weights.reason).toBe("q8, since the device had no room for more; embeddings and head keep bf16");
    await engine.dispose();
    expect(watched.live).toEqual({ buffers: 0, bytes: 0 });
    // An asked for format is no one's to change.
    watched.failAt(12, "scope");
    await expect(load(EMBEDDED, { weights: "q8", device: watched.device })).rejects.toThrow(OutOfMemoryError);
  });
});
