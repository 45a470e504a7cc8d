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
  /**
   * Tokens to generate at most; default 512, cut to what the context still holds. Where the model's rotary regime depends on
   * a request's length (`ModelInfo.regimes`), prompt and maxTokens together give it.
   */
  maxTokens?: number;
  /** 0 is greedy; default 1. */
  temperature?: number;
  /** 32-bit seed of the draw; default: random. The same seed gives the same tokens. */
  seed?: number;
  /**
   * How many ids at the input's end an earlier generation drew with this seed; default 0. Draws go on where that one ended, and
   * penalties count those ids as generated: the ids of prompt and answer, the answer's seed and its length give what a
   * longer answer would have been.
   */
  drawn?: number;
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
  /** Higher goes first, and takes the pages of lower ones where there are too few; default 0. */
  priority?: number;
  /** Pages of prompts are shared only with requests of the same salt: one for each user keeps them from finding out each other's. */
  cacheSalt?: string;
}

/** The tokens that may come next after what a choice has generated so far; null: any. An end token has to be among them to be drawn. */
export type AllowedTokens = (generated: readonly number[], index: number) => readonly number[] | null;

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

/** What a session is saved for, and where draws stand. */
export interface SaveOptions {
  /**
   * Tokens that may follow the ids in requests that are to go on from them; default 512, as in `SamplingOptions`. It matters where
   * the model has several rotary regimes (`ModelInfo.regimes`): only requests whose prompt and maxTokens fall into the same one
   * as these ids and this number use what was saved. Others compute it anew: right as well, and slower.
   */
  maxTokens?: number;
  /** Seed of the generation that the ids are of, and how many of the last ids it drew: `seed` of its result, and its ids. */
  seed?: number;
  drawn?: number;
  /** As in `SamplingOptions`. */
  cacheSalt?: string;
}

export interface RestoreOptions {
  /** Only requests of the same salt find the session's pages. */
  cacheSalt?: string;
}

/** A session that is in the cache again. What follows goes on from `ids`, and with `seed` and `drawn` if it was drawn. */
export interface RestoredSession {
  ids: number[];
  seed?: number;
  drawn?: number;
  /** Tokens, from the first on, that the cache has now: whole pages. The rest is computed when it is asked for. */
  cachedTokens: number;
}

/** The first choice's fields at the top; `choices` has all `n` of them. */
export interface GenerationResult extends Omit<Choice, "index"> {
  /** Seed of the first choice, where tokens were drawn; choice i has the i-th after it. */
  seed?: number;
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
  /**
   * Where rotary frequencies depend on how long a request may become (LongRoPE, dynamic NTK): the longest request of each
   * regime, prompt and maxTokens together, ascending; the last is `contextTokens`. Requests of different regimes do not share pages.
   * Absent where there is one for all.
   */
  regimes?: number[];
  weights: { format: WeightFormat; reason: string; bytes: number };
  tokenizer: boolean;
  chatTemplate: boolean;
  bosId: number | null;
  eosIds: number[];
}

/** Choices of one layer's router since the model was put on the device; they wrap at 2³². Shared experts are not counted. */
export interface ExpertCounts {
  layer: number;
  counts: number[];
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
  /** The same of the pool of windowed layers, in a model that has others as well. */
  windowPages?: { total: number; used: number; shared: number };
  /** Devices that were lost and replaced. */
  recoveries: number;
  /** GPU bytes this engine holds, in all and by kind; none while a device is being replaced. */
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
  /** The model is loaded, and is now put on another device since its own was lost; what runs goes on afterwards. */
  recovering?: boolean;
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
    /** A mask made on this side between two tokens, which then are computed one at a time. Not across a worker. */
    allowed?: AllowedTokens,
  ): Promise<GenerationResult>;
  /**
   * Computes what the cache does not hold of the input and gives it as bytes, with ids and where draws stand: for storage.
   * `restoreSession` of an engine of the same model and cache format puts it into the cache, where the next request that begins
   * with these ids (and becomes about as long: see `SaveOptions.maxTokens`) finds it, unless others have needed the room since.
   */
  saveSession(input: PortInput, options?: SaveOptions, signal?: AbortSignal): Promise<Uint8Array<ArrayBuffer>>;
  /** Rejects with SessionError for bytes that are damaged, or of another model or cache; then nothing has changed. */
  restoreSession(bytes: Uint8Array, options?: RestoreOptions, signal?: AbortSignal): Promise<RestoredSession>;
  /** f32, [rows, vocab] row-major. */
  logits(ids: number[], rows: RowRange, signal?: AbortSignal): Promise<Float32Array>;
  /** f32, [ids.length − 1]: log-probability of ids[i + 1] given ids[0..i]. */
  score(ids: number[], signal?: AbortSignal): Promise<Float32Array>;
  /** ids of a text, with the tokenizer's own special tokens unless told otherwise. */
  encode(text: string, options?: { specialTokens?: boolean }): Promise<number[]>;
  decode(ids: number[], options?: { skipSpecialTokens?: boolean }): Promise<string>;
  /** How often each expert was chosen, a row for each layer that has experts; none in a model without. Read from the GPU when asked. */
  routing(): Promise<ExpertCounts[]>;
  /** A snapshot; behind a worker, the latest one that came over. */
  stats(): EngineStats;
  dispose(): Promise<void>;
}
