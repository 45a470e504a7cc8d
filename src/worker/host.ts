/** The worker's entry: holds one engine and serves its port (protocol.ts) to the page. */
import { invariant } from "../base/assert.ts";
import type { InProcessEngine } from "../engine/engine.ts";
import { loadEngine, type ModelSource } from "../engine/load.ts";
import type { EngineStats } from "../engine/port.ts";
import { DeltaQueue } from "./deltas.ts";
import { encodeError } from "./errors.ts";
import type { Call, NumberedCall, PortableSource, Reply, Request, Results } from "./protocol.ts";

const STATS_EVERY_MS = 100;

const scope = self as unknown as DedicatedWorkerGlobalScope;
const calls = new Map<number, AbortController>();
let engine: InProcessEngine | undefined;
let statsSent = -Infinity;

scope.addEventListener("message", ({ data: request }: MessageEvent<Request>) => {
  if (request.type === "cancel") calls.get(request.id)?.abort();
  else void serve(request);
});

function post(reply: Reply, transfer: Transferable[] = []): void {
  scope.postMessage(reply, transfer);
}

async function serve(call: NumberedCall): Promise<void> {
  const { id } = call;
  const controller = new AbortController();
  if (call.aborted) controller.abort();
  calls.set(id, controller);
  try {
    const value = await answer(call, controller.signal);
    const transfer = value instanceof Float32Array || value instanceof Uint8Array ? [value.buffer] : [];
    post({ type: "result", id, value, ...takeStats() }, transfer);
  } catch (error) {
    post({ type: "error", id, error: encodeError(error), ...takeStats() });
  } finally {
    calls.delete(id);
  }
}

async function answer(call: NumberedCall, signal: AbortSignal): Promise<Results[Call["type"]]> {
  if (call.type === "load") return load(call, signal);
  invariant(engine, `the worker was asked to ${call.type} before a model was loaded`);
  switch (call.type) {
    case "generate":
      return generate(engine, call, signal);
    case "saveSession":
      return engine.saveSession(call.input, call.options, signal);
    case "restoreSession":
      return engine.restoreSession(call.bytes, call.options, signal);
    case "logits":
      return engine.logits(call.ids, call.rows, signal);
    case "score":
      return engine.score(call.ids, signal);
    case "encode":
      return engine.encode(call.text, call.options);
    case "decode":
      return engine.decode(call.ids, call.options);
    case "routing":
      return engine.routing();
    case "dispose":
      await engine.dispose();
      return undefined;
  }
}

type Of<T extends Call["type"]> = Extract<NumberedCall, { type: T }>;

async function load({ id, source, options, lock }: Of<"load">, signal: AbortSignal): Promise<Results["load"]> {
  void holdLock(lock).then((locked) => post({ type: "started", locked }));
  engine = await loadEngine(sourceOf(source), {
    ...options,
    signal,
    onProgress: (progress) => post({ type: "progress", id, progress }),
  });
  return engine.info;
}

async function generate(
  engine: InProcessEngine,
  { id, input, options }: Of<"generate">,
  signal: AbortSignal,
): Promise<Results["generate"]> {
  const gathered = new DeltaQueue((deltas) => post({ type: "deltas", id, deltas, ...takeStats(STATS_EVERY_MS) }));
  try {
    return await engine.generate(input, options, (delta) => gathered.push(delta), signal);
  } finally {
    gathered.flush();
  }
}

/** A snapshot for a reply, unless the last one is younger than that. */
function takeStats(olderThanMs = 0): { stats?: EngineStats } {
  const now = performance.now();
  if (!engine || now - statsSent < olderThanMs) return {};
  statsSent = now;
  return { stats: engine.stats() };
}

/** A FilesRepo asks its files for the paths that they had on the page. */
function sourceOf(source: PortableSource): ModelSource {
  if (!Array.isArray(source)) return source;
  return source.map(({ file, path }) => Object.defineProperty(file, "webkitRelativePath", { value: path }));
}

/** Holds the lock until this worker ends, which nothing else would tell the page. False where there are no locks. */
function holdLock(name: string): Promise<boolean> {
  return new Promise((resolve) => {
    const held = (): Promise<never> => {
      resolve(true);
      return new Promise(() => {});
    };
    if (navigator.locks) navigator.locks.request(name, held).catch(() => resolve(false));
    else resolve(false);
  });
}
