import { describe, expect, it } from "vitest";
import type { DeviceInfo } from "../../src/gpu/device.ts";
import { matMulShape } from "../../src/kernels/matmul.ts";
import { matVecShape } from "../../src/kernels/matvec.ts";
import { PORTABLE } from "../../src/kernels/tuning.ts";
import {
  candidatesOf,
  choose,
  GROUPS,
  isSoftware,
  parseChoices,
  tuningKey,
  withChoices,
} from "../../src/engine/tune.ts";

const info: DeviceInfo = {
  vendor: "nvidia",
  architecture: "hopper",
  description: "NVIDIA H100",
  shaderF16: true,
  subgroups: true,
  subgroupMinSize: 8,
  packedDot: true,
};

describe("candidates", () => {
  it.each(GROUPS)("of %s: few, the table's own first, each under a name of its own", (group) => {
    const candidates = candidatesOf(group, info, PORTABLE);
    expect(candidates.length).toBeGreaterThanOrEqual(2);
    expect(candidates.length).toBeLessThanOrEqual(5);
    expect({ ...PORTABLE, ...candidates[0]!.tuning }).toEqual(PORTABLE);
    expect(new Set(candidates.map((c) => c.name)).size).toBe(candidates.length);
  });

  it("fit what every device has", () => {
    for (const { tuning } of candidatesOf("matMul", info, PORTABLE))
      expect(() => matMulShape(tuning.matMul!)).not.toThrow();
    for (const { tuning } of candidatesOf("matVec", info, PORTABLE)) {
      const { workgroup, pass, slotsAColumn, lanes } = matVecShape(tuning.matVec!, 64, 8, true);
      expect(workgroup).toBeLessThanOrEqual(256);
      expect(pass * slotsAColumn * workgroup * 4).toBeLessThanOrEqual(16384);
      expect(workgroup % lanes).toBe(0);
      expect(tuning.matVec!.maxColumns).toBe(PORTABLE.matVec.maxColumns);
    }
    for (const { tuning } of candidatesOf("split", info, PORTABLE)) {
      expect(Math.log2(tuning.attention!.split) % 1).toBe(0);
      expect(tuning.attention).toMatchObject({ rows: PORTABLE.attention.rows });
    }
  });

  it("of packedDot: none where WGSL lacks it", () => {
    expect(candidatesOf("packedDot", { ...info, packedDot: false }, PORTABLE)).toEqual([]);
  });
});

describe("a choice", () => {
  const three = candidatesOf("matVec", info, PORTABLE).slice(0, 3);
  it.each<[times: number[][], chosen: number]>([
    [[[10], [9], [8]], 2],
    [[[10], [9.6], [9.7]], 0], // within the noise
    [[[10], [11], [12]], 0],
    [
      [
        [10, 10],
        [1, 30],
        [9, 9],
      ],
      2,
    ], // medians, not the luckiest
    [[[10], [0], [9]], 2], // a clock that did not move is no time
    [[[10], [], [20]], 0],
    [[[], [], []], 0],
  ])("of times %j is candidate %i", (times, chosen) => {
    expect(choose(three, times)).toBe(three[chosen]);
  });

  it("goes into the tuning, and leaves alone what was not chosen", () => {
    const [, other] = candidatesOf("matVec", info, PORTABLE);
    const [, split] = candidatesOf("split", info, PORTABLE);
    const tuned = withChoices(PORTABLE, info, { matVec: other!.name, split: split!.name, matMul: "no such" });
    expect(tuned).toEqual({ ...PORTABLE, ...other!.tuning, ...split!.tuning });
    expect(withChoices(PORTABLE, info, {})).toEqual(PORTABLE);
  });
});

describe("what is kept", () => {
  it.each([null, "", "{", "null", "[]", "3", '{"matVec": 7, "else": "x"}'])("is nothing in %j", (text) => {
    expect(parseChoices(text)).toEqual({});
  });

  it("is read back", () => {
    expect(parseChoices('{"matVec": "a", "split": "b", "else": "c"}')).toEqual({ matVec: "a", split: "b" });
  });

  it("is under a key of all that may change it", () => {
    const key = (change: Partial<DeviceInfo>, agent = "Chrome 150", version = "1", layout = "q4"): string =>
      tuningKey({ ...info, ...change }, agent, version, layout);
    const keys = [
      key({}),
      key({ vendor: "amd" }),
      key({ architecture: "ada" }),
      key({ description: "other driver" }),
      key({ shaderF16: false }),
      key({ subgroups: false }),
      key({}, "Chrome 151"),
      key({}, "Chrome 150", "2"),
      key({}, "Chrome 150", "1", "q8"),
    ];
    expect(new Set(keys).size).toBe(keys.length);
    expect(key({})).toBe(keys[0]);
  });
});

describe("software devices", () => {
  it.each([
    ["swiftshader", "", true],
    ["", "llvmpipe (LLVM 15.0.6)", true],
    ["", "Microsoft Basic Render Driver", true],
    ["hopper", "NVIDIA H100", false],
    ["metal-3", "Apple M2", false],
    ["gen-12lp", "Intel(R) Iris(R) Xe Graphics", false],
    ["", "", false],
  ])("%j %j: %s", (architecture, description, software) => {
    expect(isSoftware({ architecture, description })).toBe(software);
  });
});
