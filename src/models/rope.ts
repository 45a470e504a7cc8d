import { ConfigError } from "../base/errors.ts";
import { ConfigReader } from "./config.ts";
import type { RopeSpec } from "./family.ts";

/** The rotary settings of a config. */
export interface RopeConfig {
  readonly theta: number;
}

/**
 * Rotary settings in both spellings: `rope_theta` with `rope_scaling`, and transformers 5's `rope_parameters`. Any
 * scaling other than "default" is refused by its name rather than run as if it were not there.
 */
export function readRope(c: ConfigReader): RopeConfig {
  const field = c.absent("rope_parameters") ? "rope_scaling" : "rope_parameters";
  const nested = c.object(field);
  const type = nested?.["rope_type"] ?? nested?.["type"] ?? "default";
  if (type !== "default") throw new ConfigError(`${field}.rope_type`, `${JSON.stringify(type)} is not supported yet`);
  c.only("partial_rotary_factor", [1], "the whole head rotates in the Llama form");
  if (nested?.["partial_rotary_factor"] !== undefined && nested["partial_rotary_factor"] !== 1) {
    throw new ConfigError(`${field}.partial_rotary_factor`, "the whole head rotates in the Llama form");
  }
  const theta = nested?.["rope_theta"] === undefined ? c : new ConfigReader(nested);
  return { theta: theta.positive("rope_theta", 10000) };
}

/** theta^(−2e / dim) for e < dim / 2 (Su et al. 2021). */
export function ropeSpec({ theta }: RopeConfig, dim: number): RopeSpec {
  const inverseFrequencies = Float64Array.from({ length: dim / 2 }, (_, e) => theta ** ((-2 * e) / dim));
  return { dim, inverseFrequencies, scale: 1 };
}

/** Positions of the near table: a position is split into its lowest 8 bits and the rest. */
const NEAR = 256;

/** The two tables of `rope_write`, [256, dim / 2, 2] and [⌈context / 256⌉, dim / 2, 2], computed in float64. */
export function ropeTables(
  spec: RopeSpec,
  contextTokens: number,
): {
  near: Float32Array<ArrayBuffer>;
  far: Float32Array<ArrayBuffer>;
} {
  const { inverseFrequencies: frequencies, scale } = spec;
  const table = (count: number, step: number, factor: number): Float32Array<ArrayBuffer> => {
    const values = new Float32Array(count * frequencies.length * 2);
    let at = 0;
    for (let i = 0; i < count; i++) {
      for (const frequency of frequencies) {
        const angle = i * step * frequency;
        values[at++] = Math.cos(angle) * factor;
        values[at++] = Math.sin(angle) * factor;
      }
    }
    return values;
  };
  return { near: table(NEAR, 1, 1), far: table(Math.ceil(contextTokens / NEAR), NEAR, scale) };
}
