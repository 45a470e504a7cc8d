import { afterAll, describe, expect, it } from "vitest";
import { GpuError } from "../../src/base/errors.ts";
import { composeWgsl, packParams, Pipelines, type KernelSource } from "../../src/kernels/define.ts";
import { openNullGpu } from "../support/null-gpu.ts";

const source: KernelSource = {
  name: "double",
  params: { count: "u32", factor: "f32" },
  constants: { WIDTH: 64, FAST: true },
  bindings: [
    { name: "x", access: "read", type: "array<f32>" },
    { name: "y", access: "read_write", type: "array<f32>" },
  ],
  fragments: ["fn twice(v: f32) -> f32 { return v * params.factor; }"],
  wgsl: `@compute @workgroup_size(WIDTH)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (FAST && id.x < params.count && id.x < batch.rows) { y[id.x] = twice(x[id.x]); }
}`,
};

describe("composeWgsl", () => {
  it("declares params, constants and bindings before fragments and kernel", () => {
    const code = composeWgsl(source);
    const order = [
      "// double",
      "struct Batch {",
      "struct Params {\n  count: u32,\n  factor: f32,\n}",
      "@group(0) @binding(0) var<uniform> params: Params;",
      "@group(0) @binding(1) var<uniform> batch: Batch;",
      "const WIDTH: u32 = 64;",
      "const FAST: bool = true;",
      "@group(0) @binding(2) var<storage, read> x: array<f32>;",
      "@group(0) @binding(3) var<storage, read_write> y: array<f32>;",
      "fn twice",
      "@compute",
    ];
    const at = order.map((text) => code.indexOf(text));
    expect(at).not.toContain(-1);
    expect(at).toEqual([...at].sort((a, b) => a - b));
  });

  it.each([-1, 0.5, NaN, 2 ** 32, Infinity])("refuses %d as a constant", (WIDTH) => {
    expect(() => composeWgsl({ ...source, constants: { WIDTH } })).toThrow(/WIDTH = .* is not a u32/);
  });
});

describe("packParams", () => {
  it("writes little-endian words in the order of the declaration, at least 16 bytes", () => {
    const view = new DataView(packParams(source, { factor: 0.5, count: 0xfffffffe }));
    expect(view.byteLength).toBe(16);
    expect([view.getUint32(0, true), view.getFloat32(4, true)]).toEqual([0xfffffffe, 0.5]);
    expect(packParams({ ...source, params: {} }, {}).byteLength).toBe(16);
    const seven = Object.fromEntries(Array.from("abcdefg", (name) => [name, "u32"] as const));
    expect(packParams({ ...source, params: seven }, { a: 1, b: 2, c: 3, d: 4, e: 5, f: 6, g: 7 }).byteLength).toBe(28);
  });

  it.each<[Record<string, number>, RegExp]>([
    [{ count: 1 }, /factor is not given/],
    [{ count: 1, factor: 1, other: 1 }, /does not have/],
    [{ count: -1, factor: 1 }, /count = -1 is not a u32/],
    [{ count: 1.5, factor: 1 }, /count = 1.5 is not a u32/],
  ])("refuses %o", (values, message) => {
    expect(() => packParams(source, values)).toThrow(message);
  });
});

const gpu = await openNullGpu();
afterAll(() => {
  gpu?.device.destroy();
});

describe.skipIf(gpu === null)("Pipelines", () => {
  it("gives the same kernel for the same source, and another for another constant", async () => {
    const pipelines = new Pipelines(gpu!.device);
    const kernel = pipelines.get(source);
    expect(pipelines.get({ ...source })).toBe(kernel);
    expect(pipelines.get({ ...source, constants: { WIDTH: 32, FAST: true } })).not.toBe(kernel);
    expect(pipelines.size).toBe(2);
  });

  it("compiles all at once, says how far it is, and compiles nothing twice", async () => {
    const pipelines = new Pipelines(gpu!.device);
    const kernels = [16, 32, 64].map((WIDTH) => pipelines.get({ ...source, constants: { WIDTH, FAST: false } }));
    expect(() => kernels[0]!.compiled).toThrow(/double is used before it was compiled/);
    const steps: string[] = [];
    const note = (done: number, total: number): void => void steps.push(`${done} of ${total}`);
    await pipelines.compile(note);
    expect(steps).toEqual(["1 of 3", "2 of 3", "3 of 3"]);
    const compiled = kernels.map((k) => k.compiled);
    await pipelines.compile(note);
    expect(steps).toHaveLength(3);
    expect(kernels.map((k) => k.compiled)).toEqual(compiled);
  });

  it("throws a shader error with the kernel's name, the line and its text", async () => {
    const pipelines = new Pipelines(gpu!.device);
    pipelines.get({ ...source, wgsl: source.wgsl.replace("x[id.x]", "unknown[id.x]") });
    const failure = await pipelines.compile().catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(GpuError);
    expect((failure as GpuError).message).toMatch(/^kernel double, line \d+: .*unknown[^]*y\[id\.x\] = twice\(unknown/);
    expect(gpu!.failure).toBeUndefined();
  });

  it("throws what the driver says of a kernel past the limits", async () => {
    const pipelines = new Pipelines(gpu!.device);
    const wgsl = `var<workgroup> big: array<u32, 5000>;\n${source.wgsl.replace("twice", "f32(big[id.x]) + twice")}`;
    pipelines.get({ ...source, wgsl });
    await expect(pipelines.compile()).rejects.toThrow(/kernel double: .*workgroup storage/);
    expect(gpu!.failure).toBeUndefined();
  });

  it("refuses a ninth storage buffer", () => {
    const bindings = Array.from(
      { length: 9 },
      (_, i) => ({ name: `b${i}`, access: "read", type: "array<u32>" }) as const,
    );
    const pipelines = new Pipelines(gpu!.device);
    expect(() => pipelines.get({ ...source, bindings })).toThrow(/more than 8 storage buffers/);
  });
});
