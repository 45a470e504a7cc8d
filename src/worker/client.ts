import { invariant } from "../base/assert.ts";
import { AbortError, DisposedError, UnsupportedError } from "../base/errors.ts";
import type { LoadOptions, ModelSource } from "../engine/load.ts";
import type {
  AllowedTokens,
  Delta,
  EnginePort,
  EngineStats,
  ExpertCounts,
  GenerationResult,
  ModelInfo,
  PortInput,
  RestoredSession,
  RestoreOptions,
  RowRange,
  SamplingOptions,
  SaveOptions,
} from "../engine/port.ts";
import { Connection } from "./connection.ts";
import type { PortableLoadOptions, PortableSource } from "./protocol.ts";
import { startWorker } from "./start.ts";

/** What a worker has to clean up in, before it is ended anyway. Its end frees what it held on the GPU, only later. */
const ABORT_LIMIT_MS = 1000;
const DISPOSE_LIMIT_MS = 2000;

/** What can be wanted of a load in a worker: a function or a device does not get there. */
export type WorkerLoadOptions = PortableLoadOptions & Pick<LoadOptions, "signal" | "onProgress">;

/** The port of an engine that lives in a worker of its own. */
export class WorkerEngine implements EnginePort {
  private disposing: Promise<void> | undefined;

  private constructor(
    private readonly connection: Connection,
    readonly info: ModelInfo,
  ) {}

  /**
   * As `loadEngine`, in a new worker.
   * @param start makes the worker; tests give ones that fail.
   * @throws what `loadEngine` throws; WorkerError if the worker cannot start or ends while loading.
   */
  static async load(source: ModelSource, options: WorkerLoadOptions = {}, start = startWorker): Promise<WorkerEngine> {
    const { signal, onProgress, ...portable } = options;
    if (signal?.aborted) throw new AbortError("Loading", signal.reason);
    const lock = `tessera worker ${Date.now()} ${Math.random()}`;
    const connection = new Connection(start(), lock);
    let limit: ReturnType<typeof setTimeout> | undefined;
    const onAbort = (): void => {
      limit = setTimeout(() => connection.end(new AbortError("Loading", signal?.reason)), ABORT_LIMIT_MS);
    };
    signal?.addEventListener("abort", onAbort, { once: true });
    try {
      const call = { type: "load", source: portableSource(source), options: portable, lock } as const;
      const info = await connection.call(call, { signal, onProgress });
      connection.onRecovery = onProgress;
      if (signal?.aborted) throw new AbortError("Loading", signal.reason);
      return new WorkerEngine(connection, info);
    } catch (error) {
      connection.end(error as Error);
      throw error;
    } finally {
      clearTimeout(limit);
      signal?.removeEventListener("abort", onAbort);
    }
  }

  /** For tests, which look at what becomes of the callers when it fails. */
  get worker(): Worker {
    return this.connection.worker;
  }

  generate(
    input: PortInput,
    options: SamplingOptions,
    onDelta: (delta: Delta) => void,
    signal?: AbortSignal,
    allowed?: AllowedTokens,
  ): Promise<GenerationResult> {
    if (allowed) {
      const why = "allowedTokens is a function, which cannot be sent to a worker. Load without worker: true to use it.";
      return Promise.reject(new UnsupportedError(why));
    }
    return this.connection.call({ type: "generate", input, options }, { onDelta, signal });
  }

  saveSession(input: PortInput, options: SaveOptions = {}, signal?: AbortSignal): Promise<Uint8Array<ArrayBuffer>> {
    return this.connection.call({ type: "saveSession", input, options }, { signal });
  }

  restoreSession(bytes: Uint8Array, options: RestoreOptions = {}, signal?: AbortSignal): Promise<RestoredSession> {
    return this.connection.call({ type: "restoreSession", bytes, options }, { signal });
  }

  logits(ids: number[], rows: RowRange, signal?: AbortSignal): Promise<Float32Array> {
    return this.connection.call({ type: "logits", ids, rows }, { signal });
  }

  score(ids: number[], signal?: AbortSignal): Promise<Float32Array> {
    return this.connection.call({ type: "score", ids }, { signal });
  }

  encode(text: string, options?: { specialTokens?: boolean }): Promise<number[]> {
    return this.connection.call({ type: "encode", text, options });
  }

  decode(ids: number[], options?: { skipSpecialTokens?: boolean }): Promise<string> {
    return this.connection.call({ type: "decode", ids, options });
  }

  routing(): Promise<ExpertCounts[]> {
    return this.connection.call({ type: "routing" });
  }

  /** The latest snapshot that came over: at each request's end, and while one runs some ten times a second. */
  stats(): EngineStats {
    const { stats } = this.connection;
    invariant(stats, "a model was loaded, and no figures came with it");
    return stats;
  }

  /** Ends what is running, lets the worker free everything, and ends it. More than once is once. */
  dispose(): Promise<void> {
    this.disposing ??= this.shutDown();
    return this.disposing;
  }

  private async shutDown(): Promise<void> {
    let limit: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<void>((resolve) => (limit = setTimeout(resolve, DISPOSE_LIMIT_MS)));
    // Over there it may fail or have ended already; what it held goes with the worker in any case.
    await Promise.race([this.connection.call({ type: "dispose" }).catch(() => undefined), late]);
    clearTimeout(limit);
    this.connection.end(new DisposedError());
  }
}

/** Relative to the page, as without a worker: over there it would be relative to the worker's file. */
function portableSource(source: ModelSource): PortableSource {
  if (Array.isArray(source)) return source.map((file) => ({ file, path: file.webkitRelativePath }));
  if (typeof source !== "string" || !/^(?:\.|\/(?!\/))/.test(source)) return source;
  return new URL(source, typeof document === "undefined" ? location.href : document.baseURI).href;
}
