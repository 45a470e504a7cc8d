import { invariant } from "../base/assert.ts";
import { MAX_BIASES, NO_TOKEN, SAMPLING_WORDS, type Batch } from "./batch.ts";

/**
 * How a slot's tokens are chosen. Applied in this order, as Hugging Face and vLLM do: repetition, frequency and presence
 * penalties, bias, mask; then temperature; then the filters: top-k, top-p of what top-k left, min-p. What is absent is off.
 */
export interface SamplingOptions {
  /** 0: greedy, which no filter changes. Default 1. */
  temperature?: number;
  /** u32; with the number of draws made, the whole state of the random numbers. */
  seed?: number;
  /** Keeps the k largest; of equals the lower ids. 0 or absent: all. */
  topK?: number;
  /** Keeps the fewest largest whose probabilities reach p; always one. 1: all. */
  topP?: number;
  /** Keeps what is at least this fraction as probable as the most probable one. */
  minP?: number;
  /** Tokens of the prompt or the output: positive logits are divided by it, negative ones multiplied (CTRL). 1: off. */
  repetitionPenalty?: number;
  /** Taken off for each time that the token was drawn (OpenAI). */
  frequencyPenalty?: number;
  /** Taken off once the token was drawn (OpenAI). */
  presencePenalty?: number;
  /** Added to logits: (token, bias), a token at most once, at most MAX_BIASES. */
  logitBias?: readonly (readonly [token: number, bias: number])[];
  /** Tokens that end the sequence: nothing is drawn behind one. The first MAX_ENDS are looked for. */
  endIds?: Iterable<number>;
  /** Log-probabilities of so many of the best tokens, at most MAX_LOGPROBS, beside the chosen one's. */
  logprobs?: number | null;
}

/** Log-probabilities of the best tokens that a slot may ask for. */
export const MAX_LOGPROBS = 20;

/** End tokens that the GPU looks for; a host that knows of more finds those itself, a few steps later. */
export const MAX_ENDS = 5;

const LARGEST = 3.4028234663852886e38;
/** Every distribution is flat past this; WGSL vouches for quotients of divisors up to 2^126 only. */
const MAX_TEMPERATURE = 1e30;

/** Words of the header before the bias (shaders/fragments/sampling_options.wgsl). */
const HEADER_WORDS = SAMPLING_WORDS - 2 * MAX_BIASES;

/** The words of a slot's options: the header and as much of the bias as there is. */
export function packSampling(options: SamplingOptions): Uint32Array<ArrayBuffer> {
  const { temperature = 1, seed = 0, topK = 0, topP = 1, minP = 0, logitBias = [], logprobs, endIds = [] } = options;
  const { repetitionPenalty = 1, frequencyPenalty = 0, presencePenalty = 0 } = options;
  invariant(logitBias.length <= MAX_BIASES, `${logitBias.length} biases; there is room for ${MAX_BIASES}`);
  invariant(new Set(logitBias.map(([token]) => token)).size === logitBias.length, "a token has two biases");
  invariant((logprobs ?? 0) <= MAX_LOGPROBS, `${logprobs} log-probabilities; at most ${MAX_LOGPROBS}`);
  const words = new Uint32Array(HEADER_WORDS + 2 * logitBias.length);
  const floats = new Float32Array(words.buffer);
  // A number past f32 would become an infinity, which WGSL does not promise to treat as one.
  const put = (at: number, value: number): void => {
    floats[at] = Math.min(Math.max(value, -LARGEST), LARGEST);
  };
  put(0, Math.min(temperature, MAX_TEMPERATURE));
  words[1] = seed;
  words[2] = topK;
  put(3, topP);
  put(4, Math.log(minP));
  put(5, repetitionPenalty);
  put(6, frequencyPenalty);
  put(7, presencePenalty);
  words[8] = hasPenalties({ repetitionPenalty, frequencyPenalty, presencePenalty }) ? 1 : 0;
  words[9] = logprobs ?? 0;
  words[10] = logitBias.length;
  words.set([...endIds, ...new Array<number>(MAX_ENDS).fill(NO_TOKEN)].slice(0, MAX_ENDS), 11);
  logitBias.forEach(([token, value], i) => {
    words[HEADER_WORDS + 2 * i] = token;
    put(HEADER_WORDS + 2 * i + 1, value);
  });
  return words;
}

/** Sets a slot's options, before the first step that samples with them. */
export function writeSampling(queue: GPUQueue, batch: Batch, slot: number, options: SamplingOptions): void {
  queue.writeBuffer(batch.sampling.buffer, slot * SAMPLING_WORDS * 4, packSampling(options));
}

/** Whether a slot's tokens have to be counted. */
export function hasPenalties({
  repetitionPenalty = 1,
  frequencyPenalty = 0,
  presencePenalty = 0,
}: SamplingOptions): boolean {
  return repetitionPenalty !== 1 || frequencyPenalty !== 0 || presencePenalty !== 0;
}

const IN_PROMPT = 0x80000000;

/**
 * Sets what a slot with penalties has seen: the tokens of its prompt, and those drawn before it lost its last slot. Later
 * draws are counted on the GPU. By the host, because rows of a prompt that is in the cache already never pass.
 */
export function writeCounts(
  queue: GPUQueue,
  batch: Batch,
  slot: number,
  prompt: readonly number[],
  drawn: readonly number[],
): void {
  invariant(batch.counts, "this batch keeps no counts");
  const { vocabSize } = batch.limits;
  const counts = new Uint32Array(vocabSize);
  for (const token of prompt) counts[token] = IN_PROMPT;
  for (const token of drawn) counts[token]! += 1;
  queue.writeBuffer(batch.counts.buffer, slot * vocabSize * 4, counts);
}
