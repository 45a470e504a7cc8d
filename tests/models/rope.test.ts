import { describe, expect, it } from "vitest";
import { ConfigError } from "../../src/base/errors.ts";
import { ConfigReader } from "../../src/models/config.ts";
import {
  alibiSlopes,
  readRope,
  ropeRegimes,
  ropeSpec,
  ropeTables,
  stretchedContext,
  type RopeConfig,
} from "../../src/models/rope.ts";
import { readFixtureJson } from "../support/fixtures.ts";

const rope = (json: Record<string, unknown>): RopeConfig => {
  const c = new ConfigReader(json);
  const read = readRope(c, 16, { contextTokens: 128 });
  c.finish();
  return read;
};

describe("readRope", () => {
  it.each<[Record<string, unknown>, number, number, string]>([
    [{}, 10000, 16, "default"],
    [{ rope_theta: 500000 }, 500000, 16, "default"],
    [{ rope_theta: 500000.5, rope_scaling: null }, 500000.5, 16, "default"],
    [{ rope_scaling: { rope_type: "default" } }, 10000, 16, "default"],
    [{ rope_scaling: { type: "default" }, rope_theta: 7 }, 7, 16, "default"],
    [{ rope_parameters: { rope_theta: 1e6, rope_type: "default" } }, 1e6, 16, "default"],
    [{ rope_parameters: { rope_theta: 1e6 }, rope_theta: 5 }, 1e6, 16, "default"],
    [{ rope_parameters: {}, rope_theta: 5 }, 5, 16, "default"],
    [{ partial_rotary_factor: 0.5 }, 10000, 8, "default"],
    [{ rope_parameters: { partial_rotary_factor: 0.25 } }, 10000, 4, "default"],
    [{ rope_scaling: { type: "linear", factor: 2 } }, 10000, 16, "linear"],
    [{ rope_scaling: { rope_type: "yarn", type: "yarn", factor: 2 } }, 10000, 16, "yarn"],
  ])("reads %o", (json, theta, dim, type) => {
    expect(rope(json)).toMatchObject({ theta, dim, scaling: { type } });
  });

  it.each<[Record<string, unknown>, string]>([
    [{ rope_scaling: { rope_type: "llama3", factor: 8 } }, "rope_scaling.low_freq_factor"],
    [{ rope_scaling: { type: "linear" } }, "rope_scaling.factor"],
    [{ rope_scaling: { type: "mrope", factor: 2 } }, "rope_scaling.type"],
    [{ rope_parameters: { rope_type: "proportional" } }, "rope_parameters.rope_type"],
    [{ rope_scaling: { type: "yarn", factor: 4, mystery: 1 } }, "rope_scaling.mystery"],
    [{ rope_scaling: { type: "linear", factor: 4, beta_fast: 1 } }, "rope_scaling.beta_fast"],
    [{ rope_scaling: { type: "longrope", short_factor: [1], long_factor: [1] } }, "rope_scaling.short_factor"],
    [{ rope_scaling: "yarn" }, "rope_scaling"],
    [{ rope_theta: 0 }, "rope_theta"],
    [{ rope_theta: -1 }, "rope_theta"],
    [{ rope_theta: "10000" }, "rope_theta"],
    [{ partial_rotary_factor: 0.4 }, "partial_rotary_factor"],
    [{ rope_parameters: { partial_rotary_factor: 1.5 } }, "rope_parameters.partial_rotary_factor"],
  ])("refuses %o by the field's name", (json, field) => {
    expect(() => rope(json)).toThrow(ConfigError);
    expect(() => rope(json)).toThrow(`config.json: ${field}: `);
  });

  it("runs a checkpoint for what its scaling makes of the published context", () => {
    const context = (scaling: object): number => stretchedContext(128, rope({ rope_scaling: scaling }));
    expect(context({ type: "linear", factor: 4 })).toBe(128);
    expect(context({ type: "dynamic", factor: 4 })).toBe(512);
    expect(context({ type: "yarn", factor: 4, original_max_position_embeddings: 128 })).toBe(512);
    expect(context({ type: "yarn", factor: 4, original_max_position_embeddings: 16 })).toBe(128);
  });
});

interface RopeGoldens {
  cases: { name: string; json: Record<string, unknown>; length: number; inverse: number[]; factor: number }[];
}
const goldens = await readFixtureJson<RopeGoldens>("tests/fixtures/families/positions.json");

describe("ropeSpec", () => {
  it("has the frequencies of the paper", () => {
    const { dim, inverseFrequencies, scale } = ropeSpec({ theta: 10000, dim: 8, scaling: { type: "default" } }, 64);
    expect([dim, scale]).toEqual([8, 1]);
    [1, 0.1, 0.01, 0.001].forEach((f, i) => expect(inverseFrequencies[i]).toBeCloseTo(f, 15));
  });

  // Lengths on both sides of each boundary: 64 is the original context, 128 the published one.
  it.each(goldens.cases.map((c) => [c.name, c.length, c] as const))(
    "%s at %i tokens is transformers'",
    (_, length, { json, inverse, factor }) => {
      const c = new ConfigReader(json);
      const headDim = (json["head_dim"] as number | undefined) ?? 16;
      const read = readRope(c, headDim, { contextTokens: json["max_position_embeddings"] as number });
      const { inverseFrequencies, scale } = ropeSpec(read, length);
      expect(scale).toBeCloseTo(factor, 6);
      expect(inverseFrequencies.length).toBe(inverse.length);
      // transformers computes in float32, powers included.
      inverse.forEach((f, e) => expect(Math.abs(inverseFrequencies[e]! / f - 1)).toBeLessThan(2e-6));
    },
  );

  it.each([
    ["longrope", 64, 65],
    ["dynamic", 128, 129],
  ])("%s changes between %i and %i tokens, and nowhere below", (name, last, next) => {
    const at = (length: number): Float64Array => {
      const { json } = goldens.cases.find((c) => c.name === name)!;
      return ropeSpec(readRope(new ConfigReader(json), 16, { contextTokens: 128 }), length).inverseFrequencies;
    };
    expect(at(1)).toEqual(at(last));
    expect(at(last)).not.toEqual(at(next));
  });
});

describe("ropeRegimes", () => {
  const of = (json: Record<string, unknown>): RopeConfig => {
    const c = new ConfigReader({ max_position_embeddings: 128, ...json });
    return readRope(c, 16, { contextTokens: 128 });
  };
  const dynamic = (factor: number): RopeConfig => of({ rope_scaling: { type: "dynamic", factor } });
  const factors = Array.from({ length: 8 }, (_, i) => 1 + i);
  const longrope = of({
    original_max_position_embeddings: 64,
    rope_scaling: { type: "longrope", short_factor: factors, long_factor: factors.map((f) => 4 * f) },
  });
  const plain = of({});

  it.each<[string, RopeConfig[], [context: number, lengths: number[]][]]>([
    ["nothing rotates", [], [[100, [100]]]],
    ["default", [plain], [[100, [100]]]],
    ["linear", [of({ rope_scaling: { type: "linear", factor: 4 } })], [[512, [512]]]],
    ["yarn", [of({ rope_scaling: { type: "yarn", factor: 4 } })], [[512, [512]]]],
    [
      "longrope",
      [longrope],
      [
        [2, [64]],
        [64, [64]],
        [65, [64, 65]],
        [128, [64, 128]],
      ],
    ],
    [
      "dynamic, four times as long",
      [dynamic(4)],
      [
        [2, [128]],
        [128, [128]],
        [129, [128, 256]],
        [256, [128, 256]],
        [257, [128, 256, 512]],
        [512, [128, 256, 512]],
      ],
    ],
    // The last step is no doubling, whatever context an engine takes of it.
    ["dynamic, three times", [dynamic(3)], [[300, [128, 256, 384]]]],
    ["dynamic, half as long again", [dynamic(1.5)], [[150, [128, 192]]]],
    // A context that the checkpoint cannot be run for, which the engine refuses.
    ["dynamic, beyond its end", [dynamic(1.5)], [[200, [128, 200]]]],
    ["one that is stretched and one that is not", [longrope, plain], [[100, [64, 100]]]],
    ["two that are stretched", [dynamic(4), longrope], [[200, [64, 128, 256]]]],
    ["the same in another order", [longrope, dynamic(4)], [[200, [64, 128, 256]]]],
  ])("%s", (_, ropes, cases) => {
    for (const [context, lengths] of cases) expect(ropeRegimes(ropes, context)).toEqual(lengths);
  });

  it("gives requests of a regime one set of frequencies, and the next regime another", () => {
    for (const rope of [longrope, dynamic(4)]) {
      const lengths = ropeRegimes([rope], 500);
      expect(lengths.length).toBeGreaterThan(1);
      const sets = lengths.map((length) => ropeSpec(rope, length).inverseFrequencies.join());
      expect(new Set(sets).size).toBe(lengths.length);
    }
  });

  it("does not depend on the engine's context but for how many there are", () => {
    const long = ropeRegimes([dynamic(4)], 512);
    for (let context = 2; context < 512; context++) {
      const lengths = ropeRegimes([dynamic(4)], context);
      expect(lengths).toEqual(long.slice(0, lengths.length));
      expect(lengths.at(-1)).toBeGreaterThanOrEqual(context);
      expect(lengths.at(-2) ?? 0).toBeLessThan(context);
    }
  });
});

describe("alibiSlopes", () => {
  it("has the paper's slopes, and between them those of the power above", () => {
    expect(alibiSlopes(4)).toEqual([2 ** -2, 2 ** -4, 2 ** -6, 2 ** -8]);
    expect(alibiSlopes(8)[0]).toBe(0.5);
    expect(alibiSlopes(6)).toEqual([2 ** -2, 2 ** -4, 2 ** -6, 2 ** -8, 2 ** -1, 2 ** -3]);
    expect(alibiSlopes(1)).toEqual([2 ** -8]);
  });
});

describe("ropeTables", () => {
  const dim = 16;
  const spec = ropeSpec({ theta: 500000, dim, scaling: { type: "default" } }, 64);
  /** (cos, sin) of element e at a position, as rope_write combines it. */
  const turn = (tables: ReturnType<typeof ropeTables>, position: number, e: number): [number, number] => {
    const near = 2 * ((position & 255) * (dim / 2) + e);
    const far = 2 * ((position >> 8) * (dim / 2) + e);
    const [a, b] = [tables.far[far]!, tables.far[far + 1]!];
    const [c, d] = [tables.near[near]!, tables.near[near + 1]!];
    return [a * c - b * d, b * c + a * d];
  };

  it("covers every position of the context, and not a row more", () => {
    for (const [context, rows] of [
      [1, 1],
      [256, 1],
      [257, 2],
      [131072, 512],
    ] as const) {
      const { near, far } = ropeTables([spec], context);
      expect([near.length, far.length]).toEqual([256 * dim, rows * dim]);
    }
  });

  it("gives cosine and sine to the last bits of f32 up to position 131,071", () => {
    const tables = ropeTables([spec], 131072);
    for (let position = 0; position < 131072; position += position < 600 ? 1 : 499) {
      for (let e = 0; e < dim / 2; e++) {
        const angle = position * spec.inverseFrequencies[e]!;
        const [cosine, sine] = turn(tables, position, e);
        expect(Math.abs(cosine - Math.cos(angle))).toBeLessThan(2e-7);
        expect(Math.abs(sine - Math.sin(angle))).toBeLessThan(2e-7);
      }
    }
  });

  it("has the regimes of a position beside each other", () => {
    const specs = [spec, { ...ropeSpec({ theta: 100, dim, scaling: { type: "default" } }, 64), scale: 1.5 }];
    const alone = specs.map((one) => ropeTables([one], 600));
    const both = ropeTables(specs, 600);
    const rowOf = (table: Float32Array, i: number): number[] => [...table.subarray(i * dim, (i + 1) * dim)];
    for (const [name, rows] of [
      ["near", 256],
      ["far", 3],
    ] as const) {
      expect(both[name].length).toBe(rows * 2 * dim);
      for (let row = 0; row < rows; row++) {
        for (const k of [0, 1]) expect(rowOf(both[name], 2 * row + k)).toEqual(rowOf(alone[k]![name], row));
      }
    }
  });

  it("scales the product of both tables once", () => {
    const tables = ropeTables([{ ...spec, scale: 1.25 }], 1000);
    for (const position of [0, 3, 255, 256, 999]) {
      expect(Math.hypot(...turn(tables, position, 2))).toBeCloseTo(1.25, 6);
    }
  });
});
