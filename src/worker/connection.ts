import { AbortError, ArgumentError, WorkerError } from "../base/errors.ts";
import type { Delta, EngineStats, LoadProgress } from "../engine/port.ts";
import { decodeError } from "./errors.ts";
import type { Call, Reply, Request, Results } from "./protocol.ts";

/** A script that takes longer to come will not come. (A caller on a slow line can abort the load.) */
const START_LIMIT_MS = 60_000;

const ADVICE =
  "Its file comes with the library: serve it from the page's own origin, let the Content-Security-Policy allow it " +
  "(worker-src 'self', and trusted-types tessera if those are required), and send it with the page's own " +
  "Cross-Origin-Embedder-Policy; or load without worker: true.";

/** The caller's side of one call. Functions stay on this side. */
export interface CallHooks {
  signal?: AbortSignal | undefined;
  onDelta?: (delta: Delta) => void;
  onProgress?: ((progress: LoadProgress) => void) | undefined;
}

interface Pending extends CallHooks {
  resolve(value: Results[Call["type"]]): void;
  reject(error: unknown): void;
}

/** The page's side of one worker: numbers calls, hands replies to them, and ends them all when the worker ends. */
export class Connection {
  /** The latest snapshot that came over. */
  stats: EngineStats | undefined;
  /** Told of progress that belongs to no call any more: a lost device is replaced. */
  onRecovery: ((progress: LoadProgress) => void) | undefined;
  private readonly pending = new Map<number, Pending>();
  private readonly overdue: ReturnType<typeof setTimeout>;
  private started = false;
  private ended: Error | undefined;
  private count = 0;

  constructor(
    readonly worker: Worker,
    /** The Web Lock that the worker is going to hold; the name is this connection's own. */
    private readonly lock: string,
  ) {
    worker.addEventListener("message", ({ data }: MessageEvent<Reply>) => this.receive(data));
    worker.addEventListener("messageerror", () => {
      this.end(new WorkerError("A message of the worker could not be read. Load the model again."));
    });
    worker.addEventListener("error", (event) => {
      event.preventDefault(); // it is told to the callers, not to window.onerror
      this.end(this.failure(event));
    });
    this.overdue = setTimeout(() => {
      this.end(new WorkerError(`The worker did not start within ${START_LIMIT_MS / 1000} seconds. ${ADVICE}`));
    }, START_LIMIT_MS);
  }

  /** Rejects with the error that the call met over there, or with the one that ended the connection. */
  call<C extends Call>(call: C, hooks: CallHooks = {}): Promise<Results[C["type"]]> {
    const id = this.count++;
    const { signal } = hooks;
    const onAbort = (): void => this.post({ type: "cancel", id });
    const result = new Promise<Results[Call["type"]]>((resolve, reject) => {
      if (this.ended) throw this.ended;
      this.post({ ...call, id, aborted: signal?.aborted ?? false });
      this.pending.set(id, { ...hooks, resolve, reject });
      signal?.addEventListener("abort", onAbort, { once: true });
    }).finally(() => {
      this.pending.delete(id);
      signal?.removeEventListener("abort", onAbort);
    });
    return result as Promise<Results[C["type"]]>;
  }

  /** Ends the worker, and with `error` every call, those to come included. Only the first time counts. */
  end(error: Error): void {
    if (this.ended) return;
    this.ended = error;
    clearTimeout(this.overdue);
    this.worker.terminate();
    // What it held on the GPU went with it.
    if (this.stats) this.stats = { ...this.stats, running: 0, waiting: 0, gpuBytes: { total: 0, byKind: {} } };
    for (const call of this.pending.values()) call.reject(error);
  }

  private post(request: Request): void {
    if (this.ended) return;
    try {
      this.worker.postMessage(request);
    } catch (error) {
      throw new ArgumentError(
        `The ${request.type} call cannot be sent to the worker: ${(error as Error).message} Give it plain data; ` +
          "what a framework has made reactive (a Proxy) has to be copied first.",
      );
    }
  }

  private receive(reply: Reply): void {
    if (this.ended) return;
    if (reply.type === "started") return this.onStarted(reply.locked);
    if ("stats" in reply && reply.stats) this.stats = reply.stats;
    const call = this.pending.get(reply.id);
    if (!call) {
      if (reply.type === "progress") this.onRecovery?.(reply.progress);
      return;
    }
    try {
      if (reply.type === "progress") call.onProgress?.(reply.progress);
      else if (reply.type === "deltas") for (const delta of reply.deltas) call.onDelta?.(delta);
      else if (reply.type === "result") call.resolve(reply.value);
      else call.reject(reasoned(decodeError(reply.error), call.signal));
    } catch (error) {
      // A callback threw: nobody listens to this call any more.
      call.reject(error);
      this.post({ type: "cancel", id: reply.id });
    }
  }

  /** A worker that was terminated says nothing, but its lock falls to whoever waits for it. */
  private onStarted(locked: boolean): void {
    this.started = true;
    clearTimeout(this.overdue);
    if (!locked) return;
    const onGone = (): void => {
      this.end(new WorkerError("The worker that held the model was terminated. Load the model again."));
    };
    navigator.locks.request(this.lock, onGone).catch(onGone);
  }

  private failure(event: ErrorEvent): WorkerError {
    const detail = event.message ? `: ${event.message}` : "";
    if (!this.started) return new WorkerError(`The worker could not start${detail}. ${ADVICE}`);
    const place = event.filename ? ` (${event.filename}:${event.lineno})` : "";
    return new WorkerError(`The worker that held the model failed${detail}${place}. Load the model again.`);
  }
}

/** The reason of an abort stayed on this side. */
function reasoned(error: Error, signal?: AbortSignal): Error {
  if (error instanceof AbortError && signal?.aborted) error.cause = signal.reason;
  return error;
}
