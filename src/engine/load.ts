import type { Repo } from "../base/bytes.ts";
import { AbortError, GpuError, TesseraError } from "../base/errors.ts";
import { powerOfTwoAtLeast } from "../base/assert.ts";
import { Usage } from "../gpu/arena.ts";
import { openGpu, type Gpu } from "../gpu/device.ts";
import { createBatch, type Range } from "../kernels/batch.ts";
import { Pipelines } from "../kernels/define.ts";
import type { RopeTable } from "../kernels/rope.ts";
import { tuningFor, type Tuning } from "../kernels/tuning.ts";
import type { Family, ModelConfig } from "../models/family.ts";
import { ropeTables } from "../models/rope.ts";
import { openNotes } from "../store/notes.ts";
import { openRepo } from "../store/repo.ts";
import { createCache } from "./cache.ts";
import { Core } from "./core.ts";
import { InProcessEngine } from "./engine.ts";
import { readCheckpoint, type CheckpointOptions, type ModelSource, type ReadCheckpoint } from "./inspect.ts";
import { WeightStore } from "./loader.ts";
import { PagePool } from "./pages.ts";
import type { LoadProgress } from "./port.ts";
import { Runner } from "./runner.ts";
import { Scheduler } from "./scheduler.ts";
import { Session } from "./session.ts";
import { tunedFor } from "./trial.ts";

export type { ModelSource } from "./inspect.ts";

export interface LoadOptions extends CheckpointOptions {
  /** GPU memory this engine may take. The cache shrinks to fit; less than one context of it is an error. */
  memoryBytes?: number;
  /** The same request gives the same bits in any company: one matmul path, no 8-bit activations. Slower prompts. */
  deterministic?: boolean;
  /**
   * Measure a few variants of the main kernels on this GPU, for about 300 ms, and keep what is quickest for later loads;
   * default false. Never on software devices, and not together with `deterministic`.
   */
  tune?: boolean;
  onProgress?: (progress: LoadProgress) => void;
  /** Run on this device; it is not destroyed with the engine. */
  device?: GPUDevice;
}

/** Knobs of the engine that change speed and memory, never results: what tests turn. */
export interface EngineTuning {
  /** Tokens a page holds: a power of two ≥ 32. */
  pageSize?: number;
  /** Shuffles the order in which pages are given. */
  pageSeed?: number;
  /** Rows of one step. */
  maxRows?: number;
  /** Sequences at a time. */
  slots?: number;
  /** Steps under way. */
  lookAhead?: number;
  /** Bytes of one part of a matrix, to split those that would fit a binding. */
  maxBindingBytes?: number;
  /** Tokens that the pool holds. */
  poolTokens?: number;
  /** Variants of the kernels other than the device's own. */
  kernels?: Partial<Tuning>;
}

const DEFAULT_SLOTS = 8;
const DEFAULT_ROWS = 256;
const DEFAULT_LOOK_AHEAD = 3;
/** Logits of one reading step, on the GPU and again on their way to the host. */
const READ_BYTES = 4 << 20;

/** Loads a checkpoint into an engine on this thread. Whatever fails, nothing stays allocated. */
export async function loadEngine(
  source: ModelSource,
  options: LoadOptions = {},
  tuning: EngineTuning = {},
): Promise<InProcessEngine> {
  if (options.signal?.aborted) throw new AbortError("Loading", options.signal.reason);
  return loadRepo(await openRepo(source, options), options, tuning);
}

/** The same from a folder that is open already. */
export async function loadRepo(
  repo: Repo,
  options: LoadOptions = {},
  tuning: EngineTuning = {},
): Promise<InProcessEngine> {
  const { signal } = options;
  const report = (stage: LoadProgress["stage"], loaded: number, total: number): void =>
    options.onProgress?.({ stage, loaded, total });
  const check = (): void => {
    if (signal?.aborted) throw new AbortError("Loading", signal.reason);
  };
  let gpu: Gpu | undefined;
  try {
    report("config", 0, 1);
    const checkpoint = await readCheckpoint(repo, options, report);
    check();
    gpu = await openGpu(options);
    check();
    return await build(gpu, { ...checkpoint, options, tuning, report });
  } catch (error) {
    const ours = error instanceof TesseraError && !(error instanceof GpuError);
    const reason = ours || !gpu ? error : await gpu.explain(error);
    gpu?.close();
    check(); // whatever an abort made fail, it was the abort
    throw reason;
  }
}

interface Parts extends ReadCheckpoint {
  options: LoadOptions;
  tuning: EngineTuning;
  report: (stage: LoadProgress["stage"], loaded: number, total: number) => void;
}

async function build(gpu: Gpu, parts: Parts): Promise<InProcessEngine> {
  const { family, config, plan, text, endIds, contextTokens, kv, options, tuning, report } = parts;
  const spec = family.cacheSpec(config);
  const pageSize = tuning.pageSize ?? (spec.headDim <= 64 ? 64 : 32);
  const slots = tuning.slots ?? DEFAULT_SLOTS;
  const maxBinding = gpu.device.limits.maxStorageBufferBindingSize;
  const rows = powerOfTwoAtLeast(Math.min(tuning.maxRows ?? DEFAULT_ROWS, contextTokens));
  const readRows = Math.max(1, Math.min(64, rows, Math.floor(READ_BYTES / (config.vocabSize * 4))));
  const pagesPerSequence = Math.ceil(contextTokens / pageSize);

  const pipelines = new Pipelines(gpu.device);
  const batch = await createBatch(gpu.arena, {
    rows,
    slots,
    samples: Math.max(slots, readRows),
    pagesPerSequence,
    vocabSize: config.vocabSize,
    penalties: true,
  });
  const weights = await WeightStore.allocate(
    gpu,
    pipelines,
    plan,
    Math.min(maxBinding, tuning.maxBindingBytes ?? Infinity),
  );
  const ropes = await uploadRopes(gpu, family, config, contextTokens);
  const wantedTokens = tuning.poolTokens ?? Math.max(contextTokens, Math.min(4 * contextTokens, 16384));
  const { cache, pages } = await createCache(gpu, spec, {
    format: kv,
    pageSize,
    maxBinding,
    wanted: Math.ceil(wantedTokens / pageSize),
    least: pagesPerSequence,
  });
  const lookAhead = tuning.lookAhead ?? DEFAULT_LOOK_AHEAD;
  const model = { config, weights, ropes, cache };
  const kernels = { ...(await kernelsFor(gpu, parts, pageSize)), ...tuning.kernels };
  const recording = { steps: lookAhead + 1, readRows, tuning: kernels };
  const runner = await Runner.record(gpu, pipelines, family, model, batch, recording);

  const compiled = pipelines.compile((done, total) => report("pipelines", done, total));
  compiled.catch(() => undefined); // awaited by the first chunk; streaming may fail before that
  await weights.stream(compiled, batch, progressOf(options), options.signal);
  await compiled;
  if (gpu.failure) throw gpu.failure;
  report("ready", 1, 1);

  const pool = new PagePool(pages, tuning.pageSeed);
  const scheduler = new Scheduler({ rows, readRows, slots, pageSize }, pool);
  const core = new Core(gpu, scheduler, runner, lookAhead);
  const session = new Session(core, text, { contextTokens, vocabSize: config.vocabSize, slots, endIds });
  const info = { ...parts.info, weights: { ...parts.info.weights, bytes: weights.bytes } };
  return new InProcessEngine(gpu, core, scheduler, session, info, pageSize);
}

/** A pair of tables for each rotary regime of the family; contextTokens, the longest possible request, fixes the regime. */
async function uploadRopes(gpu: Gpu, family: Family, config: ModelConfig, contextTokens: number): Promise<RopeTable[]> {
  const upload = async (label: string, values: Float32Array<ArrayBuffer>): Promise<Range> => {
    const buffer = await gpu.arena.allocate("weights", label, values.byteLength, Usage.storage | Usage.copyDst);
    gpu.queue.writeBuffer(buffer, 0, values);
    return { buffer, offset: 0, size: buffer.size };
  };
  const tables: RopeTable[] = [];
  for (const spec of family.ropes(config, contextTokens)) {
    const { near, far } = ropeTables(spec, contextTokens);
    tables.push({ dim: spec.dim, near: await upload("rope near", near), far: await upload("rope far", far) });
  }
  return tables;
}

/** The device's row of the table, and what was measured on it where that is wanted. */
async function kernelsFor(
  gpu: Gpu,
  { family, config, plan, kv, options, info }: Parts,
  pageSize: number,
): Promise<Tuning> {
  const base = tuningFor(gpu.info, options.deterministic);
  if (!options.tune) return base;
  const { heads: kvHeads, headDim } = family.cacheSpec(config);
  const { hiddenSize: hidden } = config;
  // The widest input of a layer is that of its down projection.
  const inputs = [...plan.table.values()].map((s) => (s.kind === "linear" && !s.gatherOnly ? s.inFeatures : 0));
  const heads = Math.max(1, Math.floor(hidden / headDim / kvHeads)) * kvHeads;
  const shapes = { hidden, intermediate: Math.max(...inputs), heads, kvHeads, headDim, pageSize, cache: kv };
  // Not packedDot: it changes results, so it is a caller's choice.
  return tunedFor(
    gpu,
    base,
    { ...shapes, layout: info.weights.format },
    { storage: openNotes(), groups: EXACT_GROUPS },
  );
}

const EXACT_GROUPS = ["matVec", "matMul", "split"] as const;

/** Turns bytes into progress with the time left, from the mean rate so far. */
function progressOf(options: LoadOptions): (loaded: number, total: number) => void {
  const begun = performance.now();
  return (loaded, total) => {
    const seconds = (performance.now() - begun) / 1000;
    const secondsLeft = (seconds / loaded) * (total - loaded);
    options.onProgress?.({ stage: "weights", loaded, total, ...(seconds > 0.5 && { secondsLeft }) });
  };
}
