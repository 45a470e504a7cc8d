/** A browser whose WGSL has no packed integers runs 16-bit models, and is told why it cannot run others. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { UnsupportedError } from "../../src/base/errors.ts";
import { loadEngine, type LoadOptions } from "../../src/engine/load.ts";
import { openGpu } from "../../src/gpu/device.ts";
import { fixtureSource } from "../support/fixtures.ts";

const TINY = fixtureSource("tests/fixtures/llama/bias-f16");
const before = Object.getOwnPropertyDescriptor(globalThis, "navigator");
/** Kept for good: Dawn crashes when it is collected while a device lives. */
let dawn: GPU;

describe("without packed integers", () => {
  beforeAll(async () => {
    (await openGpu()).close(); // puts WebGPU's classes into place
    dawn = ((await import("webgpu")) as { create(flags: string[]): GPU }).create([]);
    const gpu = { wgslLanguageFeatures: new Set(), requestAdapter: dawn.requestAdapter.bind(dawn) };
    Object.defineProperty(globalThis, "navigator", { value: { gpu }, configurable: true });
  });
  afterAll(() => {
    if (before) Object.defineProperty(globalThis, "navigator", before);
    else Reflect.deleteProperty(globalThis, "navigator");
  });

  const refused: [what: RegExp, options: LoadOptions][] = [
    [/q4.* weights need .*packed_4x8_integer_dot_product.*weights: "f16"/, { weights: "q4" }],
    [/q8.* weights need/, { weights: "q8" }],
    [/int8 pages need .*kv: "f16"/, { kv: "int8" }],
  ];
  it.each(refused)("refuses %s", async (what, options) => {
    const failure: unknown = await loadEngine(TINY, options).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(UnsupportedError);
    expect((failure as Error).message).toMatch(what);
  });

  it("runs 16 bits", async () => {
    const engine = await loadEngine(TINY);
    const { ids } = await engine.generate([1, 2, 3], { temperature: 0, maxTokens: 4 }, () => undefined);
    expect(ids.length).toBeGreaterThan(0);
    await engine.dispose();
  });
});
