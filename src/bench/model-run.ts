/** A model on a device, ready to be timed: what `bench decode` and `bench prefill` share. */
import type { Repo } from "../base/bytes.ts";
import { AbortError, ArgumentError, GpuError, TesseraError } from "../base/errors.ts";
import { VERSION } from "../base/version.ts";
import type { InProcessEngine } from "../engine/engine.ts";
import { readCheckpoint, type ModelSource } from "../engine/inspect.ts";
import { loadRepo, type LoadOptions } from "../engine/load.ts";
import type { EngineStats, ModelInfo } from "../engine/port.ts";
import { Rehearsal, WeightPool } from "../engine/rehearsal.ts";
import { isSoftware } from "../engine/tune.ts";
import { openGpu, type DeviceInfo } from "../gpu/device.ts";
import { median, quantile, Stopwatch } from "../gpu/timing.ts";
import { openRepo } from "../store/repo.ts";
import { endlessRepo, madeRepo } from "./made.ts";
import { findShape, MADE_MODELS } from "./models.ts";
import { workOf, type ModelWork } from "./model-work.ts";
import { measurePeaks } from "./peaks.ts";
import { rested } from "./rest.ts";
import type { Peaks } from "./roofline.ts";

export interface ModelBenchOptions {
  /** A model to make, by its name in models.ts; default the first of them. Not together with `source`. */
  shape?: string;
  /** A checkpoint instead. */
  source?: ModelSource;
  /** As for a load; `weights` is by default "q4" for a model that is made, and "published" for a checkpoint. */
  load?: Pick<LoadOptions, "weights" | "kv" | "memoryBytes" | "deterministic" | "revision" | "endpoint">;
  /** Times that each row of the table is measured, after one run that is not counted; default 5, on a software device 3. */
  rounds?: number;
  /** What the report names as its agent. */
  agent?: string;
  onProgress?: (progress: ModelBenchProgress) => void;
  signal?: AbortSignal;
  device?: GPUDevice;
}

export interface ModelBenchProgress {
  readonly done: number;
  readonly total: number;
  /** What is done now: "peaks", "loading", or a row. */
  readonly at: string;
}

/** What every report of a model begins with. */
export interface ModelReportHead {
  readonly schema: 1;
  readonly version: string;
  /** ISO 8601. */
  readonly date: string;
  readonly agent: string;
  readonly device: DeviceInfo;
  /** A driver that computes on the CPU: its times say nothing of any GPU. */
  readonly software: boolean;
  readonly peaks: Peaks;
  readonly model: ModelInfo & { readonly name: string; readonly made: boolean };
  /** Milliseconds of loading, compiling among them. */
  readonly loadMs: number;
}

/** A loaded model and what is known of it. */
export interface Subject {
  readonly head: ModelReportHead;
  readonly engine: InProcessEngine;
  readonly work: ModelWork;
  /** Says what is measured now, and ends with an AbortError once the signal says so. */
  step(at: string): void;
}

/** What is to be measured, as far as the load has to know. */
export interface Room {
  /** Rows of the report. */
  readonly rows: number;
  /** Tokens of the longest sequence, and of all that run together. */
  readonly contextTokens: number;
  readonly poolTokens: number;
  readonly slots: number;
}

/**
 * Measures the peaks, loads the model, lets `measure` run, and frees everything whatever happens. `roomFor` says what is to
 * be measured once it is known what on: a software device or not, and a checkpoint for so many tokens at most.
 */
export async function withSubject<T>(
  options: ModelBenchOptions,
  roomFor: (software: boolean, mostTokens: number) => Room,
  measure: (subject: Subject) => Promise<T>,
): Promise<T> {
  const { signal, device } = options;
  const { repo, name, made } = await openSubject(options);
  const base = {
    ...options.load,
    weights: options.load?.weights ?? (made ? "q4" : "published"),
    ...(signal && { signal }),
    ...(device && { device }),
  } as const;
  // Read twice: here for what is counted, and again by the load. Without weights that is a few kilobytes.
  const checkpoint = await readCheckpoint(repo, base);
  const info = await deviceInfo(device);
  const room = roomFor(isSoftware(info), checkpoint.config.contextTokens);
  let done = 0;
  const step = (at: string): void => {
    if (signal?.aborted) throw new AbortError("Measuring", signal.reason);
    options.onProgress?.({ done: done++, total: room.rows + 2, at });
  };
  step("peaks");
  const peaks = await devicePeaks(device);
  step("loading");
  const load = { ...base, contextTokens: room.contextTokens };
  const begun = performance.now();
  const engine = await loadRepo(repo, load, { poolTokens: room.poolTokens, slots: room.slots });
  try {
    const head: ModelReportHead = {
      schema: 1,
      version: VERSION,
      date: new Date().toISOString(),
      agent: options.agent ?? globalThis.navigator?.userAgent ?? "",
      device: { ...engine.gpu.info },
      software: isSoftware(engine.gpu.info),
      peaks,
      model: { ...engine.info, name, made },
      loadMs: performance.now() - begun,
    };
    return await rested(head.software, () => measure({ head, engine, work: workOf(checkpoint), step }));
  } finally {
    await engine.dispose();
  }
}

async function openSubject(options: ModelBenchOptions): Promise<{ repo: Repo; name: string; made: boolean }> {
  const { source, load, signal } = options;
  if (source === undefined) {
    const model = options.shape === undefined ? MADE_MODELS[0]! : findShape(options.shape);
    return { repo: madeRepo(model), name: model.name, made: true };
  }
  const repo = await openRepo(source, { ...load, ...(signal && { signal }) });
  return { repo: endlessRepo(repo), name: repo.label, made: false };
}

async function deviceInfo(device: GPUDevice | undefined): Promise<DeviceInfo> {
  const gpu = await openGpu(device ? { device } : {});
  gpu.close();
  return gpu.info;
}

/** The peaks of the adapter that the model will run on, from a device of their own. */
async function devicePeaks(device: GPUDevice | undefined): Promise<Peaks> {
  const gpu = await openGpu(device ? { device } : {});
  try {
    const software = isSoftware(gpu.info);
    const stopwatch = await Stopwatch.create(gpu);
    const pool = await WeightPool.allocate(gpu, software ? 64 << 20 : 512 << 20);
    const rehearsal = await Rehearsal.open(gpu, { segments: [{ rows: 1, length: 0 }] });
    const effort = software ? { rounds: 3, passMs: 2, budgetMs: 1000 } : { rounds: 10, passMs: 10, budgetMs: 8000 };
    try {
      return await measurePeaks(gpu, rehearsal, pool, stopwatch, { ...effort, small: software });
    } finally {
      rehearsal.close();
      stopwatch.close();
    }
  } catch (error) {
    throw error instanceof TesseraError && !(error instanceof GpuError) ? error : await gpu.explain(error);
  } finally {
    gpu.close();
  }
}

/** Median of the rounds, and their interquartile range over it. */
export function summary(values: readonly number[]): { median: number; spread: number } {
  const middle = median(values);
  return { median: middle, spread: (quantile(values, 0.75) - quantile(values, 0.25)) / middle };
}

export const roundsOf = ({ rounds }: ModelBenchOptions, { head }: Subject): number => rounds ?? (head.software ? 3 : 5);

/** Those of the default lengths that a checkpoint can hold with `more` tokens behind them; its own at least. */
export function fitting(lengths: readonly number[], more: number, mostTokens: number): number[] {
  const fit = lengths.filter((n) => n + more <= mostTokens);
  return fit.length > 0 ? fit : [Math.max(1, mostTokens - more)];
}

/** Throws ArgumentError for a list of lengths or counts that is empty or holds something else. */
export function refuseOdd(what: string, list: readonly number[]): void {
  const bad = list.find((n) => !Number.isInteger(n) || n < 1);
  if (bad !== undefined) throw new ArgumentError(`${what} are integers from 1 up, not ${bad}.`);
  if (list.length === 0) throw new ArgumentError(`${what}: the list is empty. Give at least one, or leave it out.`);
}

/** What the engine did between two looks at its counters. */
export interface Counted {
  readonly steps: number;
  readonly dispatches: number;
  readonly submits: number;
  readonly hostMs: number;
}

export function countedBetween(before: EngineStats, after: EngineStats): Counted {
  return {
    steps: after.steps - before.steps,
    dispatches: after.dispatches - before.dispatches,
    submits: after.submits - before.submits,
    hostMs: after.hostMs - before.hostMs,
  };
}

/** Ids without a pattern, other ones for each seed: none of them is found in the cache from another time. */
export function freshIds(count: number, vocabSize: number, seed: number): number[] {
  let state = seed >>> 0;
  return Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * vocabSize);
  });
}
