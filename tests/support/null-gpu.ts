import { openGpu, type Gpu } from "../../src/gpu/device.ts";

/** Dawn crashes when its instance is collected while a device lives. */
let dawn: GPU | undefined;

/**
 * A device of Dawn's `null` backend, with the limits that every WebGPU device has: it validates and compiles everything
 * and computes nothing. Needs no driver. Node only; null where the optional package "webgpu" has no Dawn for this system.
 */
export async function openNullGpu(): Promise<Gpu | null> {
  if (!dawn) {
    const loaded = await import("webgpu").catch(() => null);
    if (!loaded) return null;
    Object.assign(globalThis, loaded.globals);
    dawn = loaded.create(["backend=null"]);
  }
  const adapter = await dawn.requestAdapter();
  return adapter && openGpu({ device: await adapter.requestDevice() });
}
