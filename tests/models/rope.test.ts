import { describe, expect, it } from "vitest";
import { ConfigError } from "../../src/base/errors.ts";
import { ConfigReader } from "../../src/models/config.ts";
import { readRope, ropeSpec, ropeTables } from "../../src/models/rope.ts";

const rope = (json: Record<string, unknown>): unknown => readRope(new ConfigReader(json));

describe("readRope", () => {
  it.each([
    [{}, 10000],
    [{ rope_theta: 500000 }, 500000],
    [{ rope_theta: 500000.5, rope_scaling: null }, 500000.5],
    [{ rope_scaling: { rope_type: "default" } }, 10000],
    [{ rope_scaling: { type: "default" }, rope_theta: 7 }, 7],
    [{ rope_parameters: { rope_theta: 1e6, rope_type: "default" } }, 1e6],
    [{ rope_parameters: { rope_theta: 1e6 }, rope_theta: 5 }, 1e6],
    [{ rope_parameters: {}, rope_theta: 5 }, 5],
    [{ partial_rotary_factor: 1, rope_parameters: { partial_rotary_factor: 1 } }, 10000],
  ])("reads %o", (json, theta) => {
    expect(rope(json)).toEqual({ theta });
  });

  it.each<[Record<string, unknown>, string]>([
    [{ rope_scaling: { rope_type: "llama3", factor: 8 } }, "rope_scaling.rope_type"],
    [{ rope_scaling: { type: "linear", factor: 2 } }, "rope_scaling.rope_type"],
    [{ rope_parameters: { rope_type: "yarn" } }, "rope_parameters.rope_type"],
    [{ rope_scaling: "yarn" }, "rope_scaling"],
    [{ rope_theta: 0 }, "rope_theta"],
    [{ rope_theta: -1 }, "rope_theta"],
    [{ rope_theta: "10000" }, "rope_theta"],
    [{ partial_rotary_factor: 0.5 }, "partial_rotary_factor"],
    [{ rope_parameters: { partial_rotary_factor: 0.5 } }, "rope_parameters.partial_rotary_factor"],
  ])("refuses %o by the field's name", (json, field) => {
    expect(() => rope(json)).toThrow(ConfigError);
    expect(() => rope(json)).toThrow(`config.json: ${field}: `);
  });
});

describe("ropeSpec", () => {
  it("has the frequencies of the paper", () => {
    const { dim, inverseFrequencies, scale } = ropeSpec({ theta: 10000 }, 8);
    expect([dim, scale]).toEqual([8, 1]);
    [1, 0.1, 0.01, 0.001].forEach((f, i) => expect(inverseFrequencies[i]).toBeCloseTo(f, 15));
  });
});

describe("ropeTables", () => {
  const dim = 16;
  const spec = ropeSpec({ theta: 500000 }, dim);
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
      const { near, far } = ropeTables(spec, context);
      expect([near.length, far.length]).toEqual([256 * dim, rows * dim]);
    }
  });

  it("gives cosine and sine to the last bits of f32 up to position 131,071", () => {
    const tables = ropeTables(spec, 131072);
    for (let position = 0; position < 131072; position += position < 600 ? 1 : 499) {
      for (let e = 0; e < dim / 2; e++) {
        const angle = position * spec.inverseFrequencies[e]!;
        const [cosine, sine] = turn(tables, position, e);
        expect(Math.abs(cosine - Math.cos(angle))).toBeLessThan(2e-7);
        expect(Math.abs(sine - Math.sin(angle))).toBeLessThan(2e-7);
      }
    }
  });

  it("scales the product of both tables once", () => {
    const tables = ropeTables({ ...spec, scale: 1.25 }, 1000);
    for (const position of [0, 3, 255, 256, 999]) {
      expect(Math.hypot(...turn(tables, position, 2))).toBeCloseTo(1.25, 6);
    }
  });
});
