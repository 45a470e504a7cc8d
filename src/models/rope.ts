import { invariant } from "../base/assert.ts";
import type { ConfigReader } from "./config.ts";
import type { RopeSpec } from "./family.ts";

/** How a checkpoint's frequencies were stretched for longer contexts. */
export type RopeScaling =
  | { readonly type: "default" }
  /** Every position divided (Chen et al. 2023). */
  | { readonly type: "linear"; readonly factor: number }
  /** The base grows with the length beyond `original` (NTK-aware, bloc97 and emozilla 2023). */
  | { readonly type: "dynamic"; readonly factor: number; readonly original: number }
  /** Low frequencies are interpolated, high ones kept (Peng et al. 2023). */
  | ({ readonly type: "yarn"; readonly factor: number; readonly original: number } & YarnOptions)
  /** The same idea with other bounds (Llama 3.1). */
  | {
      readonly type: "llama3";
      readonly factor: number;
      readonly original: number;
      readonly lowFrequency: number;
      readonly highFrequency: number;
    }
  /** A factor for each frequency, other ones past `original` tokens (Ding et al. 2024). */
  | {
      readonly type: "longrope";
      readonly original: number;
      readonly short: readonly number[];
      readonly long: readonly number[];
      readonly attentionFactor: number;
    };

interface YarnOptions {
  readonly betaFast: number;
  readonly betaSlow: number;
  readonly truncate: boolean;
  readonly attentionFactor: number;
  /** How far attention's scores grow with the stretching, where a config says so (DeepSeek's mscale_all_dim). */
  readonly mscaleAllDim: number;
}

/** The rotary settings of a config. */
export interface RopeConfig {
  readonly theta: number;
  /** Elements of a head that rotate. */
  readonly dim: number;
  readonly scaling: RopeScaling;
}

export interface RopeDefaults {
  /** Fields that hold the base and the rotating part of a head in this family. */
  readonly thetaField?: string;
  readonly partialField?: string;
  readonly theta?: number;
  readonly partial?: number;
  /** Tokens of training, for scalings that do not say it themselves. */
  readonly contextTokens: number;
  /** Other names that the family's configs give a scaling. */
  readonly aliases?: Readonly<Record<string, string>>;
}

const TYPES = ["default", "linear", "dynamic", "yarn", "llama3", "longrope"] as const;

/**
 * Rotary settings in both spellings: `rope_theta` with `rope_scaling`, and transformers 5's `rope_parameters`. A scaling
 * that is not known is refused by its name rather than run as if it were not there.
 */
export function readRope(c: ConfigReader, headDim: number, defaults: RopeDefaults): RopeConfig {
  const { thetaField = "rope_theta", partialField = "partial_rotary_factor" } = defaults;
  const nested = c.nested("rope_parameters") ?? c.nested("rope_scaling");
  c.ignore("rope_scaling"); // where both are there, they say the same
  const from = (field: string): ConfigReader => (nested && !nested.absent(field) ? nested : c);
  const theta = from("rope_theta") === nested ? nested : c;
  const thetaName = theta === nested ? "rope_theta" : thetaField;
  const partial = from("partial_rotary_factor") === nested ? nested : c;
  const factor =
    (partial === nested ? nested.number("partial_rotary_factor") : c.number(partialField)) ?? defaults.partial ?? 1;
  c.ignore(thetaField, partialField);
  const dim = Math.trunc(headDim * factor);
  if (!(factor > 0 && factor <= 1) || dim % 4) {
    throw partial.error(
      partial === nested ? "partial_rotary_factor" : partialField,
      `${dim} of ${headDim} elements rotate`,
    );
  }
  const scaling = nested ? readScaling(nested, c, dim, defaults) : { type: "default" as const };
  nested?.finish();
  return { theta: theta.positive(thetaName, defaults.theta ?? 10000), dim, scaling };
}

function readScaling(r: ConfigReader, c: ConfigReader, dim: number, defaults: RopeDefaults): RopeScaling {
  const { contextTokens, aliases = {} } = defaults;
  const field = r.absent("rope_type") ? "type" : "rope_type";
  r.ignore("type", "rope_type");
  const named = r.oneOf(field, [...TYPES, ...Object.keys(aliases)], "default");
  const type = aliases[named] ?? named;
  const original = (): number => {
    const owner = r.absent("original_max_position_embeddings") ? c : r;
    return owner.integer("original_max_position_embeddings", { fallback: contextTokens });
  };
  switch (type) {
    case "linear":
      return { type, factor: r.positive("factor") };
    case "dynamic":
      return { type, factor: r.positive("factor"), original: contextTokens };
    case "llama3":
      return {
        type,
        factor: r.positive("factor"),
        original: original(),
        lowFrequency: r.positive("low_freq_factor"),
        highFrequency: r.positive("high_freq_factor"),
      };
    case "yarn": {
      const factor = r.positive("factor");
      const mscaleAllDim = r.number("mscale_all_dim") ?? 0;
      return {
        type,
        factor,
        original: original(),
        mscaleAllDim,
        betaFast: r.positive("beta_fast", 32),
        betaSlow: r.positive("beta_slow", 1),
        truncate: r.boolean("truncate", true),
        attentionFactor: r.number("attention_factor") ?? yarnAttention(factor, r.number("mscale"), mscaleAllDim),
      };
    }
    case "longrope": {
      const isFactor = (x: unknown): x is number => typeof x === "number" && x > 0;
      const trained = original();
      const factor = r.number("factor") ?? contextTokens / trained;
      const attention = factor <= 1 ? 1 : Math.sqrt(1 + Math.log(factor) / Math.log(trained));
      return {
        type,
        original: trained,
        short: r.list("short_factor", dim / 2, "positive numbers", isFactor),
        long: r.list("long_factor", dim / 2, "positive numbers", isFactor),
        attentionFactor: r.number("attention_factor") ?? attention,
      };
    }
    default:
      return { type: "default" };
  }
}

/** Factor on cos and sin: what a longer context takes from the attention's sharpness (YaRN, equation 22; DeepSeek's mscale). */
function yarnAttention(factor: number, mscale?: number, mscaleAll?: number): number {
  const scale = (m: number): number => growth(factor, m);
  return mscale && mscaleAll ? scale(mscale) / scale(mscaleAll) : scale(1);
}

function growth(factor: number, mscale: number): number {
  return factor <= 1 ? 1 : 0.1 * mscale * Math.log(factor) + 1;
}

/** DeepSeek's factor on queries and on keys, so that its square is on scores: 1 where nothing is stretched by YaRN. */
export function yarnMscale({ scaling }: RopeConfig): number {
  return scaling.type === "yarn" && scaling.mscaleAllDim ? growth(scaling.factor, scaling.mscaleAllDim) : 1;
}

/** Tokens that a checkpoint can be run for: some publish the length before it was stretched. */
export function stretchedContext(published: number, { scaling }: RopeConfig): number {
  if (scaling.type === "dynamic") return Math.floor(published * scaling.factor);
  if (scaling.type === "yarn") return Math.max(published, Math.floor(scaling.original * scaling.factor));
  return published;
}

/**
 * The longest requests of each regime of a model with these rotary settings, ascending; the last one holds `contextTokens`.
 *
 * A request's frequencies depend on its longest possible length, prompt and answer together, where a scaling does ("dynamic"
 * past the trained context, "longrope" past the original one). They are fixed for the whole request: keys in the cache are
 * never rotated anew, and a prompt has the same logits whatever its answer's length turns out to be. They depend on the
 * checkpoint and the request alone, not on the context that an engine was loaded with.
 *
 * LongRoPE has two regimes by its definition. Dynamic NTK has a base for every length; ours are those of the trained context
 * and of each doubling of it, as in the first Qwen's own code, up to what the checkpoint can be run for. So at most half of
 * the stretching is ahead of a request's need, there are few tables, and requests of like length share their pages.
 */
export function ropeRegimes(ropes: readonly RopeConfig[], contextTokens: number): number[] {
  const lengths = ropes.map((rope) => lengthsOf(rope, contextTokens));
  // Whatever a model's layers turn by, a regime is one for all of them.
  const between = new Set(lengths.flatMap((list) => list.slice(0, -1)));
  const last = Math.max(contextTokens, ...lengths.map((list) => list.at(-1)!));
  return [...[...between].sort((a, b) => a - b), last];
}

function lengthsOf({ scaling }: RopeConfig, contextTokens: number): number[] {
  if (scaling.type !== "longrope" && scaling.type !== "dynamic") return [contextTokens];
  const lengths = [scaling.original];
  if (scaling.type === "longrope") return contextTokens > scaling.original ? [...lengths, contextTokens] : lengths;
  const longest = Math.max(contextTokens, Math.floor(scaling.original * scaling.factor));
  for (let length = scaling.original; length < contextTokens; lengths.push(length)) {
    length = Math.min(2 * length, longest);
  }
  return lengths;
}

/** The frequencies for requests of up to `length` tokens: those of a regime where it is one of `ropeRegimes`. */
export function ropeSpec({ theta, dim, scaling }: RopeConfig, length: number): RopeSpec {
  const base = scaling.type === "dynamic" ? theta * ntkGrowth(scaling, dim, length) : theta;
  // theta^(−2e / dim) for e < dim / 2 (Su et al. 2021).
  const plain = Float64Array.from({ length: dim / 2 }, (_, e) => base ** ((-2 * e) / dim));
  const spec = (scale: number, change: (f: number, e: number) => number): RopeSpec => ({
    dim,
    inverseFrequencies: plain.map(change),
    scale,
  });
  switch (scaling.type) {
    case "default":
    case "dynamic":
      return spec(1, (f) => f);
    case "linear":
      return spec(1, (f) => f / scaling.factor);
    case "llama3":
      return spec(1, (f) => f * llama3Share(scaling, f));
    case "yarn": {
      const ramp = yarnRamp(scaling, base, dim);
      return spec(scaling.attentionFactor, (f, e) => f * (1 - ramp(e) + ramp(e) / scaling.factor));
    }
    case "longrope": {
      const factors = length > scaling.original ? scaling.long : scaling.short;
      invariant(factors.length === dim / 2, `${factors.length} factors for ${dim / 2} frequencies`);
      return spec(scaling.attentionFactor, (f, e) => f / factors[e]!);
    }
  }
}

function ntkGrowth({ factor, original }: { factor: number; original: number }, dim: number, length: number): number {
  const over = (factor * Math.max(length, original)) / original - (factor - 1);
  return over ** (dim / (dim - 2));
}

type Of<T extends RopeScaling["type"]> = Extract<RopeScaling, { type: T }>;

/** What is left of a frequency: all of it above one bound, 1 / factor below the other, a line between them. */
function llama3Share({ factor, original, lowFrequency, highFrequency }: Of<"llama3">, frequency: number): number {
  const turns = (original * frequency) / (2 * Math.PI); // in the original context
  if (turns > highFrequency) return 1;
  if (turns < lowFrequency) return 1 / factor;
  const smooth = (turns - lowFrequency) / (highFrequency - lowFrequency);
  return (1 - smooth) / factor + smooth;
}

/** How far element e is interpolated: 0 where it turns often in the original context, 1 where seldom. */
function yarnRamp({ original, betaFast, betaSlow, truncate }: Of<"yarn">, base: number, dim: number) {
  const elementOf = (turns: number): number =>
    (dim * Math.log(original / (turns * 2 * Math.PI))) / (2 * Math.log(base));
  let [low, high] = [elementOf(betaFast), elementOf(betaSlow)];
  if (truncate) [low, high] = [Math.floor(low), Math.ceil(high)];
  low = Math.max(low, 0);
  high = Math.min(high, dim - 1);
  if (low === high) high += 0.001;
  return (e: number): number => Math.min(1, Math.max(0, (e - low) / (high - low)));
}

/** Positions of the near table: a position is split into its lowest 8 bits and the rest. */
const NEAR = 256;

/**
 * The two tables of `rope_write` over a model's regimes, [256, regimes, dim / 2, 2] and [⌈context / 256⌉, regimes, dim / 2, 2],
 * computed in float64. A short regime has rows that none of its requests reaches: kilobytes, for one stride.
 */
export function ropeTables(
  regimes: readonly RopeSpec[],
  contextTokens: number,
): {
  near: Float32Array<ArrayBuffer>;
  far: Float32Array<ArrayBuffer>;
} {
  const { dim } = regimes[0]!;
  invariant(
    regimes.every((spec) => spec.inverseFrequencies.length * 2 === dim),
    "regimes of different widths",
  );
  const table = (count: number, step: number, factor: (spec: RopeSpec) => number): Float32Array<ArrayBuffer> => {
    const values = new Float32Array(count * regimes.length * dim);
    let at = 0;
    for (let i = 0; i < count; i++) {
      for (const spec of regimes) {
        for (const frequency of spec.inverseFrequencies) {
          const angle = i * step * frequency;
          values[at++] = Math.cos(angle) * factor(spec);
          values[at++] = Math.sin(angle) * factor(spec);
        }
      }
    }
    return values;
  };
  return { near: table(NEAR, 1, () => 1), far: table(Math.ceil(contextTokens / NEAR), NEAR, ({ scale }) => scale) };
}

/**
 * Slopes of attention's linear biases for each head (ALiBi, Press et al. 2021): 2^(−8 i / n). Where n is no power of two
 * the paper's code takes those of the power below and, in between, every other one of the power above.
 */
export function alibiSlopes(heads: number): number[] {
  const below = 2 ** Math.floor(Math.log2(heads));
  return Array.from({ length: heads }, (_, i) =>
    i < below ? 2 ** ((-8 * (i + 1)) / below) : 2 ** ((-4 * (2 * (i - below) + 1)) / below),
  );
}
