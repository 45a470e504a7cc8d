/** The lane's own check: there is an adapter here, and it computes. What it prints says which GPU the lane ran on. */
import { describe, expect, inject, it } from "vitest";
import { fixtureSource, readBytes, sharedSource } from "./fixtures.ts";

const source = /* wgsl */ `
@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;
@group(0) @binding(2) var<storage, read_write> sum: array<f32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x < arrayLength(&sum)) { sum[id.x] = a[id.x] + b[id.x]; }
}`;

/** `navigator.gpu`, or Dawn's in Node; the caller keeps it, since Dawn crashes when its instance is collected. */
async function openGpu(): Promise<GPU> {
  if (globalThis.navigator?.gpu) return navigator.gpu;
  const { create, globals } = await import("webgpu");
  Object.assign(globalThis, globals);
  return create([]);
}

function upload(device: GPUDevice, data: Float32Array): GPUBuffer {
  const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
  const buffer = device.createBuffer({ size: data.byteLength, usage });
  device.queue.writeBuffer(buffer, 0, data.buffer, data.byteOffset, data.byteLength);
  return buffer;
}

async function add(device: GPUDevice, a: Float32Array, b: Float32Array): Promise<Float32Array> {
  const pipeline = device.createComputePipeline({
    layout: "auto",
    compute: { module: device.createShaderModule({ code: source }) },
  });
  const buffers = [upload(device, a), upload(device, b), upload(device, new Float32Array(a.length).fill(NaN))] as const;
  const result = device.createBuffer({ size: a.byteLength, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
  const entries = buffers.map((buffer, binding) => ({ binding, resource: { buffer } }));
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  pass.setPipeline(pipeline);
  pass.setBindGroup(0, device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }));
  pass.dispatchWorkgroups(Math.ceil(a.length / 64));
  pass.end();
  encoder.copyBufferToBuffer(buffers[2], 0, result, 0, a.byteLength);
  device.queue.submit([encoder.finish()]);
  await result.mapAsync(GPUMapMode.READ);
  return new Float32Array(result.getMappedRange().slice(0));
}

describe("lane", () => {
  it("has an adapter that adds two buffers", async () => {
    const gpu = await openGpu();
    const adapter = await gpu.requestAdapter();
    if (adapter === null) throw new Error(`no WebGPU adapter in the lane ${inject("lane")}`);
    const { vendor, architecture, description, subgroupMinSize, subgroupMaxSize } = adapter.info;
    const f16 = adapter.features.has("shader-f16");
    console.log(
      `${inject("lane")}: ${[vendor, architecture, description].filter(Boolean).join(" ")}; ` +
        `f16 ${f16 ? "yes" : "no"}, subgroups ${subgroupMinSize} to ${subgroupMaxSize}`,
    );
    expect(subgroupMinSize).toBeGreaterThanOrEqual(4);
    if (inject("lane") === "dawn-lavapipe") expect(`${description}; f16 ${f16}`).toMatch(/llvmpipe.*f16 true/);
    if (inject("lane") === "dawn-swiftshader") expect(architecture).toBe("swiftshader");

    const device = await adapter.requestDevice();
    device.pushErrorScope("validation");
    const a = Float32Array.from({ length: 1000 }, (_, i) => i / 8);
    const b = Float32Array.from({ length: 1000 }, (_, i) => 1000 - i);
    const sum = await add(device, a, b);
    expect(await device.popErrorScope()).toBeNull();
    expect(sum).toEqual(a.map((x, i) => x + (b[i] ?? NaN)));
    device.destroy();
  });

  it("reads files of the repository as they are", async () => {
    const bytes = await readBytes(fixtureSource("package.json"));
    expect(JSON.parse(new TextDecoder().decode(bytes))).toMatchObject({ name: "tessera" });
    await expect(readBytes(fixtureSource("tests/no-such-file.json"))).rejects.toThrow(/404|ENOENT/);
  });

  const shared = sharedSource("models/stories260K/f32");
  it.skipIf(shared === null)("reads files of the shared data", async () => {
    expect((await readBytes(`${shared}/config.json`)).length).toBeGreaterThan(0);
  });
});
