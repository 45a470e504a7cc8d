import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { startGeneration } from "../../src/api/generation.ts";
import type { Delta, GenerationResult } from "../../src/engine/port.ts";

const delta = (id: number): Delta => ({ index: 0, ids: [id], text: `${id} `, channel: "final" });
const result = (ids: number[], finishReason: GenerationResult["finishReason"] = "length"): GenerationResult => ({
  ids,
  text: ids.map((id) => `${id} `).join(""),
  finishReason,
  choices: [],
  usage: { promptTokens: 1, completionTokens: ids.length },
  timing: { firstTokenMs: 0, decodeMs: 0, totalMs: 0 },
});
const pause = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 0));

describe("startGeneration", () => {
  const unhandled: unknown[] = [];
  const record = (reason: unknown): number => unhandled.push(reason);
  beforeEach(() => process.on("unhandledRejection", record));
  afterEach(async () => {
    await pause();
    process.off("unhandledRejection", record);
    expect(unhandled.splice(0)).toEqual([]);
  });

  /** Gives ids 1 … count, one a turn, until told to stop. */
  const counting = (count: number) => async (onDelta: (d: Delta) => void, signal: AbortSignal) => {
    const ids: number[] = [];
    for (let id = 1; id <= count; id++) {
      await pause();
      if (signal.aborted) return result(ids, "abort");
      ids.push(id);
      onDelta(delta(id));
    }
    return result(ids);
  };

  it("starts at once and gives deltas in order; together they are the result", async () => {
    let started = false;
    const generation = startGeneration((onDelta, signal) => {
      started = true;
      return counting(5)(onDelta, signal);
    });
    expect(started).toBe(true);
    const ids: number[] = [];
    for await (const d of generation) ids.push(...d.ids);
    expect(ids).toEqual((await generation.result).ids);
  });

  it("keeps deltas for a late reader", async () => {
    const generation = startGeneration(counting(3));
    await generation.result;
    const seen: Delta[] = [];
    for await (const d of generation) seen.push(d);
    expect(seen).toHaveLength(3);
  });

  it("cancels when the loop is left", async () => {
    const generation = startGeneration(counting(1000));
    for await (const d of generation) if (d.ids[0] === 3) break;
    expect((await generation.result).finishReason).toBe("abort");
  });

  it("resolves the result when it is aborted, and ends the loop", async () => {
    const controller = new AbortController();
    const generation = startGeneration(counting(1000), controller.signal);
    let seen = 0;
    for await (const _ of generation) if (++seen === 4) controller.abort();
    expect((await generation.result).finishReason).toBe("abort");
    expect(seen).toBeGreaterThanOrEqual(4);
  });

  const failing = async (onDelta: (d: Delta) => void): Promise<GenerationResult> => {
    onDelta(delta(1));
    await pause();
    throw new Error("the GPU went home");
  };

  it("rejects loop and result alike", async () => {
    const generation = startGeneration(failing);
    const seen: Delta[] = [];
    const loop = (async () => {
      for await (const d of generation) seen.push(d);
    })();
    await expect(loop).rejects.toThrow("went home");
    await expect(generation.result).rejects.toThrow("went home");
    expect(seen).toHaveLength(1);
  });

  it("leaves no unhandled rejection when only one of them is used, or neither", async () => {
    startGeneration(failing);
    await expect(startGeneration(failing).result).rejects.toThrow("went home");
    await expect(
      (async () => {
        for await (const _ of startGeneration(failing));
      })(),
    ).rejects.toThrow("went home");
  });
});
