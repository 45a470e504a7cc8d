import { ArgumentError } from "../base/errors.ts";
import { MAX_BIASES } from "../kernels/batch.ts";
import { hasPenalties, MAX_LOGPROBS } from "../kernels/sampling.ts";
import type { SamplingOptions } from "./port.ts";

/** How tokens are drawn: every option checked, every default filled in. Off means that it changes nothing. */
export interface Sampling {
  /** 0 is greedy. */
  readonly temperature: number;
  /** u32 */
  readonly seed: number;
  /** The last so many ids of the prompt were drawn with this seed: draws go on from there, and penalties count them. */
  readonly drawn: number;
  /** Only the k likeliest tokens; 0: off. */
  readonly topK: number;
  /** Only the likeliest tokens that hold this much probability between them; 1: off. */
  readonly topP: number;
  /** Only tokens at least this likely in relation to the likeliest; 0: off. */
  readonly minP: number;
  /** Divides positive logits and multiplies negative ones of tokens seen before (CTRL, Keskar et al. 2019); 1: off. */
  readonly repetitionPenalty: number;
  /** Taken from a token's logit once for each time it was generated; 0: off. */
  readonly frequencyPenalty: number;
  /** Taken from the logit of every token that was generated; 0: off. */
  readonly presencePenalty: number;
  /** Added to logits. */
  readonly logitBias: readonly (readonly [id: number, bias: number])[];
  /** Log-probabilities of this many best tokens and the chosen one; null: none at all. */
  readonly logprobs: number | null;
}

/** @throws ArgumentError that names the option and what it may be */
export function samplingOf(options: SamplingOptions, vocabSize: number, promptTokens = Infinity): Sampling {
  const { logprobs } = options;
  return {
    temperature: number("temperature", options.temperature ?? 1, 0, Infinity, "0 is greedy"),
    seed: (options.seed ?? Math.floor(Math.random() * 2 ** 32)) >>> 0,
    drawn: integer("drawn", options.drawn ?? 0, 0, promptTokens, "how many ids of the input were drawn before"),
    topK: Math.min(vocabSize, integer("topK", options.topK ?? 0, 0, Infinity, "0 is off")),
    topP: number("topP", options.topP ?? 1, 0, 1, "1 is off"),
    minP: number("minP", options.minP ?? 0, 0, 1, "0 is off"),
    repetitionPenalty: positive("repetitionPenalty", options.repetitionPenalty ?? 1),
    frequencyPenalty: number(
      "frequencyPenalty",
      options.frequencyPenalty ?? 0,
      -MOST_PENALTY,
      MOST_PENALTY,
      "0 is off",
    ),
    presencePenalty: number("presencePenalty", options.presencePenalty ?? 0, -MOST_PENALTY, MOST_PENALTY, "0 is off"),
    logitBias: biases(options.logitBias ?? {}, vocabSize),
    logprobs: logprobs === undefined ? null : integer("logprobs", logprobs, 0, MAX_LOGPROBS, "how many best tokens"),
  };
}

const MOST_PENALTY = 100;

/** Greedy, with everything else off. */
export const GREEDY: Sampling = {
  temperature: 0,
  seed: 0,
  drawn: 0,
  topK: 0,
  topP: 1,
  minP: 0,
  repetitionPenalty: 1,
  frequencyPenalty: 0,
  presencePenalty: 0,
  logitBias: [],
  logprobs: null,
};

/** True where a draw needs more than the logits and a temperature. */
export function needsProcessors(sampling: Sampling): boolean {
  const { topK, topP, minP, logitBias, logprobs } = sampling;
  const filters = topK > 0 || topP < 1 || minP > 0;
  return filters || hasPenalties(sampling) || logitBias.length > 0 || logprobs !== null;
}

function number(name: string, value: number, least: number, most: number, hint: string): number {
  if (typeof value === "number" && value >= least && value <= most && Number.isFinite(value)) return value;
  const range = most === Infinity ? `${least} up` : `${least} to ${most}`;
  throw new ArgumentError(`${name} is ${String(value)}; it has to be a number from ${range} (${hint}).`);
}

function integer(name: string, value: number, least: number, most: number, hint: string): number {
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  const range = most === Infinity ? `${least} up` : `${least} to ${most}`;
  throw new ArgumentError(`${name} is ${String(value)}; it has to be an integer from ${range} (${hint}).`);
}

function positive(name: string, value: number): number {
  if (typeof value === "number" && value > 0 && value <= MOST_PENALTY) return value;
  throw new ArgumentError(`${name} is ${String(value)}; it has to be above 0 and at most ${MOST_PENALTY} (1 is off).`);
}

function biases(given: Readonly<Record<number, number>>, vocabSize: number): [number, number][] {
  const entries = Object.entries(given).map(([id, bias]): [number, number] => [Number(id), bias]);
  if (entries.length > MAX_BIASES) {
    throw new ArgumentError(`logitBias has ${entries.length} entries; ${MAX_BIASES} are the most.`);
  }
  for (const [id, bias] of entries) {
    if (!Number.isInteger(id) || id < 0 || id >= vocabSize) {
      throw new ArgumentError(`logitBias names ${id}, which is not a token id: ids are from 0 to ${vocabSize - 1}.`);
    }
    number(`logitBias of token ${id}`, bias, -MOST_BIAS, MOST_BIAS, "-100 all but bans a token");
  }
  return entries;
}

const MOST_BIAS = 1e4;
