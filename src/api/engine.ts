import { ArgumentError, UnsupportedError } from "../base/errors.ts";
import { loadEngine, type LoadOptions as EngineLoadOptions, type ModelSource } from "../engine/load.ts";
import type {
  AllowedTokens,
  ChatMessage,
  EnginePort,
  EngineStats,
  ExpertCounts,
  ModelInfo,
  RestoredSession,
  RestoreOptions,
  RowRange,
  SamplingOptions,
  SaveOptions,
} from "../engine/port.ts";
import { startGeneration, type Generation } from "./generation.ts";

export interface LoadOptions extends EngineLoadOptions {
  /**
   * Run the engine in a worker, so that nothing it does makes the page wait; default false. Only in browsers; where
   * one has no workers, and where a `device` is given, it runs on this thread. A `fetch` cannot be given with it.
   */
  worker?: boolean;
}

export interface GenerateOptions extends SamplingOptions {
  /** Ends the generation; `result` resolves with what there is. */
  signal?: AbortSignal;
  /**
   * Called between two tokens with what a choice has generated so far: the ids that may come next, or null for any. Tokens are
   * then computed one at a time. To let a text end, allow an end token (`model.eosIds`). Not with `worker: true`.
   */
  allowedTokens?: AllowedTokens;
}

export interface SaveSessionOptions extends SaveOptions {
  signal?: AbortSignal;
}

export interface RestoreSessionOptions extends RestoreOptions {
  signal?: AbortSignal;
}

export interface ReadOptions {
  signal?: AbortSignal;
}

const GENERATE_OPTIONS = [
  "maxTokens",
  "temperature",
  "seed",
  "topK",
  "topP",
  "minP",
  "repetitionPenalty",
  "frequencyPenalty",
  "presencePenalty",
  "logitBias",
  "logprobs",
  "stop",
  "n",
  "drawn",
  "priority",
  "cacheSalt",
  "allowedTokens",
  "signal",
];
const LOAD_OPTIONS = [
  "weights",
  "kv",
  "contextTokens",
  "memoryBytes",
  "deterministic",
  "tune",
  "revision",
  "endpoint",
  "fetch",
  "onProgress",
  "signal",
  "worker",
  "device",
];

/** A loaded model. Everything it does goes through a port, so it does not know where the engine lives. */
export class Engine {
  private constructor(private readonly port: EnginePort) {}

  /**
   * Loads a checkpoint: `config.json`, `tokenizer.json` and `*.safetensors`, as published.
   * @param source a Hub id "org/name", the URL of a folder, files or a picked directory, or in Node a path.
   * @throws every class of base/errors.ts that concerns files, memory or the device; AbortError when `signal` fires;
   * WorkerError when the worker that was asked for cannot start.
   */
  static async load(source: ModelSource, options: LoadOptions = {}): Promise<Engine> {
    refuseUnknown("load", options, LOAD_OPTIONS);
    return new Engine(await openPort(source, options));
  }

  /** What was loaded: sizes, formats, costs per token. */
  get model(): ModelInfo {
    return this.port.info;
  }

  /** Continues a text, a list of token ids, or a conversation. Work starts at once. */
  generate(input: string | number[] | ChatMessage[], options: GenerateOptions = {}): Generation {
    const { signal, allowedTokens, ...sampling } = options;
    return startGeneration(async (onDelta, cancelled) => {
      refuseUnknown("generate", options, GENERATE_OPTIONS);
      return this.port.generate(input, sampling, onDelta, cancelled, allowedTokens);
    }, signal);
  }

  /**
   * What the cache holds of a text, a list of ids or a conversation, as bytes for storage: what is not there yet is computed.
   * A long system prompt is so prefilled once ever; a generation goes on another day:
   *
   *     const { ids, seed } = await engine.generate(prompt, { maxTokens: 100 }).result;
   *     const bytes = await engine.saveSession([...prompt, ...ids], { seed, drawn: ids.length, maxTokens: 100 });
   *     // … after a reload
   *     const { ids: all, seed, drawn } = await engine.restoreSession(bytes);
   *     engine.generate(all, { seed, drawn, maxTokens: 100 });
   *
   * The bytes are a safetensors file of about `model.kvBytesPerToken` a token. They hold what was said: store them accordingly.
   */
  async saveSession(
    input: string | number[] | ChatMessage[],
    options: SaveSessionOptions = {},
  ): Promise<Uint8Array<ArrayBuffer>> {
    refuseUnknown("saveSession", options, ["maxTokens", "seed", "drawn", "cacheSalt", "signal"]);
    const { signal, ...rest } = options;
    return this.port.saveSession(input, rest, signal);
  }

  /**
   * Puts a saved session into the cache, where every request that begins with its ids finds it. It stays as any other cached
   * prefix does: until the room is needed and it was the least recently used, or the device is lost. Restore only what you saved yourself: the
   * checksum is against damage, not against forgery.
   * @throws SessionError for bytes that are damaged, or of another model, weight format or cache; TooLargeError where the cache
   * is too small for it. Nothing has changed then.
   */
  async restoreSession(bytes: Uint8Array, options: RestoreSessionOptions = {}): Promise<RestoredSession> {
    refuseUnknown("restoreSession", options, ["cacheSalt", "signal"]);
    const { signal, ...rest } = options;
    return this.port.restoreSession(bytes, rest, signal);
  }

  /**
   * Logits after each of the ids, [rows, vocab] row-major f32; row i is for the token after ids[i].
   * `rows`: the last one (default), all, or [from, to). The rotary regime (`model.regimes`) is that of so many ids.
   */
  async logits(ids: number[], options: ReadOptions & { rows?: RowRange } = {}): Promise<Float32Array> {
    refuseUnknown("logits", options, ["rows", "signal"]);
    return this.port.logits(ids, options.rows ?? "last", options.signal);
  }

  /** Natural-log probabilities, [ids.length − 1] f32: element i − 1 is that of ids[i] given ids[0 … i − 1]. Regime as for `logits`. */
  async score(ids: number[], options: ReadOptions = {}): Promise<Float32Array> {
    refuseUnknown("score", options, ["signal"]);
    return this.port.score(ids, options.signal);
  }

  /** Token ids of a text, with the tokenizer's own special tokens unless `specialTokens` is false. */
  encode(text: string, options?: { specialTokens?: boolean }): Promise<number[]> {
    return this.port.encode(text, options);
  }

  /** Text of token ids, without special tokens unless `skipSpecialTokens` is false. */
  decode(ids: number[], options?: { skipSpecialTokens?: boolean }): Promise<string> {
    return this.port.decode(ids, options);
  }

  /**
   * How often each expert of a mixture of experts was chosen, by layer, shared ones left out; none for other models. Counted on
   * the GPU and read from there only now. Starts anew when a lost device was replaced.
   */
  routing(): Promise<ExpertCounts[]> {
    return this.port.routing();
  }

  stats(): EngineStats {
    return this.port.stats();
  }

  /** Ends what is running and frees every byte on the GPU. */
  dispose(): Promise<void> {
    return this.port.dispose();
  }
}

async function openPort(source: ModelSource, { worker = false, ...options }: LoadOptions): Promise<EnginePort> {
  if (!worker || options.device) return loadEngine(source, options);
  if (options.fetch) {
    throw new ArgumentError(
      "A fetch function cannot be sent to a worker. Leave out fetch, or load without worker: true.",
    );
  }
  if (typeof process === "object" && process.versions?.node && typeof window === "undefined") {
    throw new UnsupportedError("worker: true is for browsers: in Node the engine runs on the thread that loads it.");
  }
  if (typeof Worker === "undefined") return loadEngine(source, options);
  const { WorkerEngine } = await import("../worker/client.ts"); // pages without a worker need not fetch it
  return WorkerEngine.load(source, options);
}

/** An option that would be ignored is a wrong answer waiting to happen. */
function refuseUnknown(call: string, options: object, known: readonly string[]): void {
  if (typeof options !== "object" || options === null)
    throw new ArgumentError(`${call}: options have to be an object.`);
  for (const [name, value] of Object.entries(options)) {
    if (value !== undefined && !known.includes(name)) {
      throw new UnsupportedError(
        `${call}: the option ${JSON.stringify(name)} is not supported. Known: ${known.join(", ")}.`,
      );
    }
  }
}
