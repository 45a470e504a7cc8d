import { afterEach, describe, expect, it } from "vitest";
import { DeviceLostError, GpuError } from "../../src/base/errors.ts";
import { Usage } from "../../src/gpu/arena.ts";
import { openGpu, type Gpu } from "../../src/gpu/device.ts";
import { submit } from "../../src/gpu/pass.ts";
import { Readback } from "../../src/gpu/readback.ts";
import { readBuffer } from "../support/kernel-bench.ts";

const open: Gpu[] = [];
async function opened(...options: Parameters<typeof openGpu>): Promise<Gpu> {
  const gpu = await openGpu(...options);
  open.push(gpu);
  return gpu;
}
afterEach(() => {
  for (const gpu of open.splice(0)) gpu.close();
});

const both = Usage.storage | Usage.copyDst | Usage.copySrc;

describe("openGpu", () => {
  it("opens a device with the adapter's sizes and what it can do", async () => {
    const { device, info } = await opened();
    expect(device.limits.maxStorageBufferBindingSize).toBeGreaterThanOrEqual(128 << 20);
    expect(device.limits.maxBufferSize).toBeGreaterThanOrEqual(256 << 20);
    expect(info.shaderF16).toBe(device.features.has("shader-f16"));
    expect(info.subgroups).toBe(device.features.has("subgroups"));
    expect(`${info.vendor}${info.architecture}${info.description}`).not.toBe("");
  });

  it("destroys its own device on close, with all that was allocated, and leaves a given one alone", async () => {
    const own = await opened();
    const guest = await opened({ device: own.device });
    const buffer = await own.arena.allocate("kv", "mine", 8, both);
    await guest.arena.allocate("kv", "theirs", 8, both);
    guest.close();
    expect(guest.arena.bytes).toBe(0);
    // The device still works.
    own.queue.writeBuffer(buffer, 0, new Uint32Array([3, 4]));
    expect(new Uint32Array(await readBuffer(own.device, buffer, 8))).toEqual(new Uint32Array([3, 4]));
    own.close();
    expect(own.arena.bytes).toBe(0);
    expect((await own.device.lost).reason).toBe("destroyed");
    open.length = 0;
  });

  it("keeps the first uncaptured error and tells whoever asked, or asks later", async () => {
    const gpu = await opened();
    const told: Error[] = [];
    gpu.whenFailed((error) => told.push(error));
    // A copy past the end, outside of any error scope.
    const buffer = gpu.device.createBuffer({ size: 16, usage: both });
    const encoder = gpu.device.createCommandEncoder();
    encoder.copyBufferToBuffer(buffer, 0, gpu.device.createBuffer({ size: 8, usage: both }), 0, 16);
    gpu.queue.submit([encoder.finish()]);
    await gpu.queue.onSubmittedWorkDone();
    await expect.poll(() => told.length, { timeout: 20_000 }).toBe(1);
    expect(told[0]).toBeInstanceOf(GpuError);
    expect(gpu.failure).toBe(told[0]);
    gpu.fail(new Error("a second one"));
    gpu.whenFailed((error) => told.push(error));
    expect(told).toEqual([gpu.failure, gpu.failure]);
  });

  it("says so when the device goes away, and not when it was closed", async () => {
    const gone = await opened();
    gone.device.destroy();
    await expect.poll(() => gone.failure, { timeout: 20_000 }).toBeInstanceOf(DeviceLostError);
    const closed = await opened();
    closed.close();
    await closed.device.lost;
    await new Promise((resolve) => setTimeout(resolve, 0));
    expect(closed.failure).toBeUndefined();
    open.pop();
  });

  it("explains a failed call by the loss of the device where that was the reason", async () => {
    const gpu = await opened();
    const error = new Error("mapAsync was aborted");
    expect(await gpu.explain(error)).toBe(error);
    expect(await gpu.explain("a string")).toMatchObject({ message: "a string" });
    gpu.device.destroy();
    expect(await gpu.explain(error)).toBeInstanceOf(DeviceLostError);
  });

  it("hears nothing more of a given device once it is closed", async () => {
    const own = await opened();
    const guest = await opened({ device: own.device });
    guest.close();
    own.device.createBuffer({ size: 4, usage: 0 });
    await own.queue.onSubmittedWorkDone(); // Chromium sends nothing before something is waited for
    await expect.poll(() => own.failure, { timeout: 20_000 }).toBeInstanceOf(GpuError);
    expect(guest.failure).toBeUndefined();
    open.pop();
  });
});

describe("submit and Readback", () => {
  it("copies results behind the pass, several under way at once, each in its own slot", async () => {
    const gpu = await opened();
    const source = await gpu.arena.allocate("state", "source", 16, both);
    const ring = await Readback.create(gpu.arena, "ring", 3, 16);
    expect(gpu.arena.byKind()).toEqual({ state: 16, staging: 48 });
    for (let round = 0; round < 2; round++) {
      const reads = [1, 2, 3].map((n) => {
        gpu.queue.writeBuffer(source, 0, new Uint32Array(4).fill(n + 10 * round));
        const pending = ring.take(source, 4 * n);
        submit(gpu, [], [pending.copy]);
        return pending.read();
      });
      expect(() => ring.take(source, 4)).toThrow(/every readback slot is under way/);
      const results = await Promise.all(reads.reverse());
      expect(results.reverse().map((bytes) => [...new Uint32Array(bytes)])).toEqual(
        [1, 2, 3].map((n) => new Array<number>(n).fill(n + 10 * round)),
      );
    }
    expect(gpu.counters).toEqual({ dispatches: 0, submits: 6 });
    expect(gpu.failure).toBeUndefined();
  });
});
