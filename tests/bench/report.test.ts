import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { VERSION } from "../../src/base/version.ts";
import {
  attainable,
  barriersOf,
  boundOf,
  bytesText,
  chooseCases,
  digits,
  intensityOf,
  parseReport,
  percent,
  ratiosTo,
  reportText,
  type CaseResult,
  type KernelReport,
  type Peaks,
} from "../../src/bench/index.ts";
import { PORTABLE } from "../../src/kernels/tuning.ts";
import { repoRoot } from "../support/shared.ts";

const peaks: Peaks = { readGBs: 100, f32GFLOPs: 1000, f16GFLOPs: null, dispatchUs: 5, submitUs: 20 };

function result(name: string, ms: number): CaseResult {
  return {
    name,
    ms,
    spread: 0.02,
    rounds: 10,
    repeats: 8,
    compileMs: 30,
    firstMs: 2,
    bytes: 1e6,
    flops: 2e6,
    dispatches: [{ kernel: "linear q4", workgroups: 64, barriers: 1 }],
    rotatedBytes: 1e8,
    gbPerS: 1 / ms,
    gflopPerS: 2 / ms,
    share: 0.01 / ms,
    boundBy: "memory",
    sane: true,
  };
}

function report(...cases: CaseResult[]): KernelReport {
  return {
    kind: "tessera kernels",
    schema: 1,
    version: VERSION,
    date: "2026-01-02T03:04:05.000Z",
    agent: "Node",
    device: {
      vendor: "v",
      architecture: "a",
      description: "",
      shaderF16: false,
      subgroups: true,
      subgroupMinSize: 8,
      packedDot: false,
    },
    software: false,
    clock: "timestamps",
    tuning: PORTABLE,
    peaks,
    cases,
    skipped: [],
  };
}

describe("the roofline", () => {
  it("is bounded by memory below the ridge and by arithmetic above it", () => {
    expect(boundOf({ bytes: 1e8, flops: 1e8 }, peaks)).toEqual({ by: "memory", ms: 1 });
    expect(boundOf({ bytes: 1e6, flops: 1e9 }, peaks)).toEqual({ by: "arithmetic", ms: 1 });
    expect(boundOf({ bytes: 1e8, flops: 0 }, peaks)).toEqual({ by: "memory", ms: 1 });
  });

  it("allows min(peak, intensity × bandwidth), and agrees with the bound", () => {
    expect([0, 5, 10, 40].map((i) => attainable(i, peaks))).toEqual([0, 500, 1000, 1000]);
    for (const work of [
      { bytes: 3e6, flops: 7e6 },
      { bytes: 3e5, flops: 9e8 },
    ]) {
      expect(work.flops / (boundOf(work, peaks).ms * 1e6)).toBeCloseTo(attainable(intensityOf(work), peaks), 6);
    }
  });
});

describe("cases", () => {
  it("have names of their own, and counts that a kernel of this kind must have", () => {
    for (const small of [true, false]) {
      const cases = chooseCases(small);
      expect(new Set(cases.map((c) => c.name)).size).toBe(cases.length);
      for (const { name, bytes, flops, setBytes } of cases) {
        expect([name, bytes > 0 && flops > 0 && Number.isInteger(setBytes)]).toEqual([name, true]);
      }
    }
  });

  it.each([
    // 0.5 bytes a weight and 2 for each 32; x, gain and result in f32; 2 · N · K
    ["linear/llama-3.2-1b/qkv/q4/m1", 3072 * 2048 * 0.5625 + 4 * (2048 + 2048 + 3072), 2 * 3072 * 2048],
    ["linear/llama-3.2-1b/down/q8/m4", 2048 * 8192 * 1.0625 + 4 * 4 * (8192 + 2 * 2048), 4 * 2 * 2048 * 8192],
    ["linear/llama-3.2-1b/gate_up/f16/m1", 16384 * 2048 * 2 + 4 * (2048 + 2048 + 8192), 2 * 16384 * 2048],
    // 8 heads of 64, keys and values of 2 bytes, 512 of them; q and the result
    ["attention/llama-3.2-1b/f16/decode512", 512 * 8 * 128 * 2 + 2 * 2048 * 4, 512 * 32 * 4 * 64],
    // row i sees i + 1
    ["attention/llama-3.2-1b/f16/prefill512", 512 * 8 * 128 * 2 + 2 * 512 * 2048 * 4, ((512 * 513) / 2) * 32 * 4 * 64],
    ["rope_write/llama-3.2-1b/f16/m1", 4 * 3072 + 4 * 2048 + 8 * 128 * 2, 3 * 40 * 64],
    ["embed/qwen3-0.6b/q8/m1", 1024 * 1.0625 + 4 * 1024, 1024],
    ["sample/qwen3-0.6b/greedy/m1", 151936 * 8, 151936],
    ["add_norm/llama-3.2-1b/m1", 2048 * 4 * 5, 5 * 2048],
    // 576 numbers of 2 bytes an entry; scores over 576, values over 512
    ["latent_attention/deepseek-v2-lite/f16/decode512", 512 * 1152 + 4 * 16 * (576 + 512), 512 * 16 * 2 * (576 + 512)],
    // kv_b of 16 · 256 rows in 4 bits; then row i sees i + 1 keys of 192 and values of 128
    [
      "latent_prompt/deepseek-v2-lite/q4/prefill512",
      512 * 1152 + 4096 * 512 * 0.5625 + 4 * 512 * 16 * (192 + 128),
      2 * 512 * 512 * 4096 + ((512 * 513) / 2) * 16 * 2 * (192 + 128),
    ],
    // 8 of 64 experts, each of three matrices of 2048 × 1024
    ["experts/olmoe-1b-7b/q4/m1", 8 * 3 * 2048 * 1024 * 0.5625 + 4 * (64 + 2 * 2048), 8 * 3 * 2 * 2048 * 1024],
  ])("%s counts its bytes and operations", (name, bytes, flops) => {
    const [one] = chooseCases(false, name);
    expect([one!.name, one!.bytes, one!.flops]).toEqual([name, bytes, flops]);
  });

  it("are chosen by all the words of a filter", () => {
    expect(chooseCases(false, "attention decode4096 qwen").map((c) => c.name)).toEqual([
      "attention/qwen3-0.6b/f16/decode4096",
    ]);
    expect(chooseCases(true, "nothing of this name")).toEqual([]);
    expect(chooseCases(true, "  ").length).toBe(chooseCases(true).length);
  });
});

describe("a report", () => {
  it("survives its file", () => {
    const one = report(result("linear/x", 2));
    expect(parseReport(JSON.stringify(one))).toEqual(one);
  });

  it.each([
    ["", "it is not JSON"],
    ["null", 'lacks "kind"'],
    ['{"kind": "else"}', 'lacks "kind"'],
    [JSON.stringify({ ...report(), schema: 2 }), "schema 2"],
    [JSON.stringify({ ...report(), peaks: {} }), "incomplete"],
    [JSON.stringify({ ...report(), cases: [{ name: "x" }] }), "incomplete"],
    [JSON.stringify({ ...report(), device: null }), "incomplete"],
  ])("refuses %s", (text, message) => {
    expect(() => parseReport(text)).toThrow(message);
  });

  it("is compared by name: our time over the other's", () => {
    const ratios = ratiosTo(
      report(result("a", 1), result("b", 3), result("c", 1)),
      report(result("b", 2), result("a", 4)),
    );
    expect([...ratios]).toEqual([
      ["a", 0.25],
      ["b", 1.5],
    ]);
  });

  it("adds barriers up, and does not know them where one is not known", () => {
    const dispatch = (barriers: number | null) => ({ kernel: "k", workgroups: 1, barriers });
    expect(barriersOf({ dispatches: [dispatch(2), dispatch(0.5)] })).toBe(2.5);
    expect(barriersOf({ dispatches: [dispatch(2), dispatch(null)] })).toBeNull();
  });

  it("is a table for people, which says what a software device's times are worth", () => {
    const text = reportText({
      ...report(result("linear/x", 0.5), { ...result("linear/y", 1), sane: false }),
      software: true,
    });
    expect(text).toMatch(/^v a; Node; Tessera [\d.]+; GPU timestamps\nThis device computes on the CPU/);
    expect(text).toMatch(/linear\/x +0\.500 +2\.0 % +2\.00 +4\.00 +2\.0 % +memory +1\.00 MB +2\.00 +1 +1\n/);
    expect(text).toContain("Not finite, or all zero: linear/y");
    expect(reportText(report())).not.toContain("CPU");
  });

  it("has the version of the package", () => {
    const { version } = JSON.parse(readFileSync(join(repoRoot, "package.json"), "utf8")) as { version: string };
    expect(VERSION).toBe(version);
  });
});

describe("figures for people", () => {
  it.each([
    [0, "0"],
    [0.012345, "0.0123"],
    [1.2345, "1.23"],
    [12.345, "12.3"],
    [1234.5, "1235"],
    [-1.5, "-1.50"],
    [NaN, "–"],
    [Infinity, "–"],
  ])("%d is %s", (value, expected) => {
    expect(digits(value)).toBe(expected);
  });

  it("shares and bytes", () => {
    expect([0.0123, 0.0996, 0.734].map(percent)).toEqual(["1.2 %", "10 %", "73 %"]);
    expect([999, 1.5e6, 2e9].map(bytesText)).toEqual(["0.999 kB", "1.50 MB", "2.00 GB"]);
  });
});
