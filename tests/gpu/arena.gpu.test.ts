import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { roundUp } from "../../src/base/assert.ts";
import { DisposedError, OutOfMemoryError } from "../../src/base/errors.ts";
import { Arena, Usage } from "../../src/gpu/arena.ts";
import { openGpu, type Gpu } from "../../src/gpu/device.ts";

let gpu: Gpu;
beforeEach(async () => {
  gpu = await openGpu({ memoryBytes: 1000 });
});
afterEach(() => {
  expect(gpu.failure).toBeUndefined();
  gpu.close();
});

const usage = Usage.storage | Usage.copyDst;

describe("Arena", () => {
  it("counts what it holds, by kind, in whole words", async () => {
    const { arena } = gpu;
    expect([arena.bytes, arena.available, arena.byKind()]).toEqual([0, 1000, {}]);
    const a = await arena.allocate("weights", "a", 5, usage);
    const b = await arena.allocate("kv", "b", 100, usage);
    await arena.allocate("weights", "c", 0, usage);
    expect([a.size, a.label, b.size]).toEqual([8, "a", 100]);
    expect([arena.bytes, arena.available, arena.byKind()]).toEqual([112, 888, { weights: 12, kv: 100 }]);
    arena.free(b);
    expect([arena.bytes, arena.byKind()]).toEqual([12, { weights: 12 }]);
  });

  it("refuses what is past the budget, and says how much is wanted and left", async () => {
    const { arena } = gpu;
    const held = await arena.allocate("kv", "held", 600, usage);
    const failure = await arena.allocate("kv", "more", 500, usage).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(OutOfMemoryError);
    expect(failure).toMatchObject({ needed: 500, available: 400, message: /more needs 500 bytes/ });
    expect(arena.bytes).toBe(600);
    arena.free(held);
    expect((await arena.allocate("kv", "more", 1000, usage)).size).toBe(1000);
  });

  it("lets allocations side by side not pass the budget together", async () => {
    const results = await Promise.allSettled([1, 2, 3].map((i) => gpu.arena.allocate("kv", `${i}`, 400, usage)));
    expect(results.map((r) => r.status)).toEqual(["fulfilled", "fulfilled", "rejected"]);
    expect(gpu.arena.bytes).toBe(800);
  });

  it("refuses a buffer past the device's limit without asking the driver", async () => {
    const arena = new Arena(gpu.device);
    expect(arena.available).toBe(Infinity);
    const limit = gpu.device.limits.maxBufferSize;
    const size = roundUp(limit + 1, 4);
    const failure = await arena.allocate("weights", "huge", size, usage).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(OutOfMemoryError);
    expect(failure).toMatchObject({ needed: size, available: limit });
    expect(arena.bytes).toBe(0);
  });

  it("takes the driver's word: what it refuses is an error with what was needed, and counts for nothing", async () => {
    const { device, arena } = gpu;
    await arena.allocate("kv", "held", 100, usage);
    const pop = device.popErrorScope.bind(device);
    device.popErrorScope = async () => (await pop()) ?? { message: "no room" };
    const failure = await arena.allocate("kv", "more", 40, usage).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(OutOfMemoryError);
    expect(failure).toMatchObject({ needed: 40, available: 900 });
    expect([arena.bytes, arena.byKind()]).toEqual([100, { kv: 100 }]);
  });

  it("refuses to free twice, or what is not its own", async () => {
    const own = await gpu.arena.allocate("kv", "own", 4, usage);
    gpu.arena.free(own);
    expect(() => gpu.arena.free(own)).toThrow(/freed twice/);
    const other = gpu.device.createBuffer({ size: 4, usage });
    expect(() => gpu.arena.free(other)).toThrow(/not of this arena/);
    expect(gpu.arena.bytes).toBe(0);
  });

  it("frees all for good: late frees do no harm, late allocations are refused and leave nothing", async () => {
    const { arena } = gpu;
    const early = await arena.allocate("kv", "early", 4, usage);
    const late = arena.allocate("kv", "late", 4, usage);
    arena.freeAll();
    expect(arena.bytes).toBe(0);
    arena.free(early);
    await expect(late).rejects.toBeInstanceOf(DisposedError);
    await expect(arena.allocate("kv", "later", 4, usage)).rejects.toBeInstanceOf(DisposedError);
    expect([arena.bytes, arena.byKind()]).toEqual([0, {}]);
  });
});
