/**
 * The port: everything that crosses between the public API and an engine, wherever the engine lives (this thread, a
 * worker, later a server). All of it can be structured-cloned; callbacks and signals are the two sides' own business.
 * Frozen: add to it, never change it.
 */

/** One message of a chat, as OpenAI's API and Hugging Face chat templates spell it. */
export interface ChatMessage {
  role: "system" | "user" | "assistant" | "tool" | (string & {});
  content: string;
  name?: string;
}

export type WeightFormat = "f32" | "f16" | "bf16" | "q8" | "q4";
export type KvFormat = "f32" | "f16" | "int8";

/** What is wanted of one generation. Undefined fields take the defaults given here. */
export interface SamplingOptions {
  /** Tokens to generate at most; default 512, cut to what the context still holds. */
  maxTokens?: number;
  /** 0 is greedy; default 1. */
  temperature?: number;
  /** 32-bit seed of the draw; default: random. The same seed gives the same tokens. */
  seed?: number;
  /** Only the k likeliest tokens may be drawn; default 0, off. */
  topK?: number;
  /** Only the likeliest tokens that hold this much probability between them; default 1, off. After `topK`. */
  topP?: number;
  /** Only tokens at least this likely in relation to the likeliest; default 0, off. After `topP`. */
  minP?: number;
  /** Divides the positive logits and multiplies the negative ones of tokens seen in prompt or answer; default 1, off. */
  repetitionPenalty?: number;
  /** Taken from a token's logit once for each time it was generated; default 0. */
  frequencyPenalty?: number;
  /** Taken from the logit of every token that was generated; default 0. */
  presencePenalty?: number;
  /** Added to the logits of these ids; at most 300. */
  logitBias?: Record<number, number>;
  /** Log-probabilities of the chosen token and of this many best ones, at most 20; default: none. */
  logprobs?: number;
  /** Text that ends a generation; it and what follows is cut from `text`. */
  stop?: string[];
  /** How many continuations of the one prompt; default 1. They share the prompt's pages. */
  n?: number;
}

export type PortInput = string | number[] | ChatMessage[];

export type FinishReason = "stop" | "length" | "abort" | "tool_calls";

/** A token and its natural log-probability. */
export interface TokenLogprob {
  id: number;
  logprob: number;
}

/** One token's, after penalties, bias and mask, at temperature 1, before top-k, top-p and min-p. */
export interface Logprobs extends TokenLogprob {
  /** The best tokens, the best first: as many as were asked for. */
  top: TokenLogprob[];
}

/** A piece of a generation, in order. `text` is what became final with these ids, perhaps empty. */
export interface Delta {
  /** Which of the `n` choices. */
  index: number;
  ids: number[];
  text: string;
  channel: "final" | "reasoning" | "tool";
  /** One for each id, where asked for. */
  logprobs?: Logprobs[];
}

export interface Usage {
  promptTokens: number;
  completionTokens: number;
}

export interface Choice {
  index: number;
  /** Without the end token. Stop strings cut `text`, not `ids`. */
  ids: number[];
  text: string;
  finishReason: FinishReason;
  /** One for each id, where asked for. */
  logprobs?: Logprobs[];
}

/** Milliseconds on the engine's clock. `decode` is from the first token to the last. */
export interface Timing {
  firstTokenMs: number;
  decodeMs: number;
  totalMs: number;
}

/** The first choice's fields at the top; `choices` has all `n` of them. */
export interface GenerationResult extends Omit<Choice, "index"> {
  usage: Usage;
  timing: Timing;
  choices: Choice[];
}

export type RowRange = "last" | "all" | [from: number, to: number];

/** What the loaded model is; plain data. */
export interface ModelInfo {
  modelType: string;
  /** Names in the family's own terms. */
  layers: number;
  hiddenSize: number;
  vocabSize: number;
  /** All weights, each counted once (a tied head counts once). */
  parameters: number;
  /** Weights that take part in one token. */
  activeParameters: number;
  /** Multiply-adds × 2 of the linear layers and the head for one token, attention over the context not counted. */
  flopsPerToken: number;
  kvBytesPerToken: number;
  kv: KvFormat;
  /** Tokens of prompt and answer together that one sequence may hold. */
  contextTokens: number;
  /** The longest the checkpoint was made for. */
  trainedContextTokens: number;
  weights: { format: WeightFormat; reason: string; bytes: number };
  tokenizer: boolean;
  chatTemplate: boolean;
  bosId: number | null;
  eosIds: number[];
}

export interface EngineStats {
  steps: number;
  /** Tokens given to callers. */
  tokens: number;
  promptTokens: number;
  /** Since load. */
  dispatches: number;
  submits: number;
  /** Milliseconds of JavaScript spent planning and encoding steps. */
  hostMs: number;
  /** Sequences that have a slot, and requests that wait for one; a preempted request waits again. */
  running: number;
  waiting: number;
  /** Requests whose pages were taken for others, and that are computed again later. */
  preemptions: number;
  /** Rows computed. */
  rows: { prefill: number; decode: number };
  /** Tokens of prompts that were in the cache already, and pages that nobody holds but the cache still knows. */
  prefix: { hitTokens: number; cachedPages: number };
  pages: { total: number; used: number; shared: number; tokensPerPage: number };
  /** GPU bytes this engine holds, in all and by kind. */
  gpuBytes: { total: number; byKind: Record<string, number> };
  adapter: AdapterInfo;
}

export interface AdapterInfo {
  vendor: string;
  architecture: string;
  description: string;
  shaderF16: boolean;
  subgroups: boolean;
}

/** `loaded` and `total` count bytes of the stage; `secondsLeft` is absent while unknown. */
export interface LoadProgress {
  stage: "config" | "tokenizer" | "weights" | "pipelines" | "ready";
  loaded: number;
  total: number;
  secondsLeft?: number;
}

/** One engine, seen from above. */
export interface EnginePort {
  readonly info: ModelInfo;
  /**
   * Runs one request. `onDelta` sees each delta in order; the promise resolves with the sum of them. An abort of
   * `signal` resolves with `finishReason: "abort"`; a failure rejects.
   */
  generate(
    input: PortInput,
    options: SamplingOptions,
    onDelta: (delta: Delta) => void,
    signal?: AbortSignal,
  ): Promise<GenerationResult>;
  /** f32, [rows, vocab] row-major. */
  logits(ids: number[], rows: RowRange, signal?: AbortSignal): Promise<Float32Array>;
  /** f32, [ids.length − 1]: log-probability of ids[i + 1] given ids[0..i]. */
  score(ids: number[], signal?: AbortSignal): Promise<Float32Array>;
  /** ids of a text, with the tokenizer's own special tokens unless told otherwise. */
  encode(text: string, options?: { specialTokens?: boolean }): Promise<number[]>;
  decode(ids: number[], options?: { skipSpecialTokens?: boolean }): Promise<string>;
  /** A snapshot; behind a worker, the latest one that came over. */
  stats(): EngineStats;
  dispose(): Promise<void>;
}
