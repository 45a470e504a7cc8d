/** A model on a device: everything that is lost with the device, and made anew on another. */
import { AbortError, GpuError, SourceError, TesseraError, UnsupportedError } from "../base/errors.ts";
import { Usage } from "../gpu/arena.ts";
import { openGpu, type Gpu } from "../gpu/device.ts";
import { createBatch, type Range } from "../kernels/batch.ts";
import { Pipelines } from "../kernels/define.ts";
import type { RopeTable } from "../kernels/rope.ts";
import { tuningFor, type Tuning } from "../kernels/tuning.ts";
import { ropeTables } from "../models/rope.ts";
import { openNotes } from "../store/notes.ts";
import { isDense } from "../weights/quant/layout.ts";
import { createCache } from "./cache.ts";
import type { ReadCheckpoint } from "./inspect.ts";
import { WeightStore } from "./loader.ts";
import type { EngineTuning, LoadOptions } from "./options.ts";
import type { LoadProgress } from "./port.ts";
import type { Assembly } from "./recovery.ts";
import type { Regimes } from "./regimes.ts";
import { Routing } from "./routing.ts";
import { Runner } from "./runner.ts";
import { sizesOf } from "./sizes.ts";
import { tunedFor } from "./trial.ts";

/** What an assembly is made from; it outlives devices. The weights are read from the checkpoint's files each time. */
export interface Parts extends ReadCheckpoint {
  readonly options: LoadOptions;
  readonly tuning: EngineTuning;
  readonly regimes: Regimes;
}

/** One making of an assembly. */
export interface Making {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: LoadProgress) => void) | undefined;
  /** The one that is made again: of the same weights, and with as many pages, since requests were accepted for them. */
  readonly like?: Pick<Assembly, "pages" | "digest">;
}

/**
 * Opens a device and puts the model on it. Whatever fails, nothing stays allocated.
 * @throws AbortError; DeviceLostError if the device is lost meanwhile; what files, memory and adapters may throw
 */
export async function assemble(parts: Parts, making: Making): Promise<Assembly> {
  const { signal } = making;
  const check = (): void => {
    if (signal?.aborted) throw new AbortError("Loading", signal.reason);
  };
  let gpu: Gpu | undefined;
  try {
    gpu = await openGpu(parts.options);
    requirePackedIntegers(gpu, parts);
    check();
    return await furnish(gpu, parts, making);
  } catch (error) {
    const ours = error instanceof TesseraError && !(error instanceof GpuError);
    const reason = ours || !gpu ? error : await gpu.explain(error);
    gpu?.close();
    check(); // whatever an abort made fail, it was the abort
    throw reason;
  }
}

/** 8- and 4-bit weights and int8 pages are unpacked by functions of WGSL that older browsers do not have. */
function requirePackedIntegers({ info }: Gpu, { plan, kv }: Parts): void {
  if (info.packedDot) return;
  const layout = [plan.dominant, ...plan.layouts.values()].find((l) => !isDense(l));
  if (layout === undefined && kv !== "int8") return;
  throw new UnsupportedError(
    `${layout === undefined ? "int8 pages" : `${layout} weights`} need WGSL's packed_4x8_integer_dot_product, which this browser ` +
      'does not have. Update it, or load with weights: "f16" and kv: "f16".',
  );
}

async function furnish(gpu: Gpu, parts: Parts, { signal, onProgress, like }: Making): Promise<Assembly> {
  const { family, config, plan, contextTokens, kv, tuning } = parts;
  const { rows, readRows, slots, pageSize, pagesPerSequence, pools, lookAhead } = sizesOf(parts);
  const maxBinding = gpu.device.limits.maxStorageBufferBindingSize;
  const pipelines = new Pipelines(gpu.device);
  const batch = await createBatch(gpu.arena, {
    rows,
    slots,
    samples: Math.max(slots, readRows),
    pagesPerSequence,
    vocabSize: config.vocabSize,
    penalties: true,
    windows: pools.length > 1,
  });
  const weights = await WeightStore.allocate(
    gpu,
    pipelines,
    plan,
    Math.min(maxBinding, tuning.maxBindingBytes ?? Infinity),
  );
  const ropes = await uploadRopes(gpu, parts.regimes, contextTokens);
  const { cache, pages } = await createCache(gpu, family.cacheSpec(config), {
    format: kv,
    pageSize,
    maxBinding,
    pools: pools.map((pool, k) => (like ? { ...pool, wanted: like.pages[k]!, least: like.pages[k]! } : pool)),
  });
  const routing = await Routing.create(gpu, family.experts?.(config) ?? null);
  const model = { config, weights, ropes, cache, ...(routing && { experts: routing.tables }) };
  const kernels = { ...(await kernelsFor(gpu, parts, pageSize)), ...tuning.kernels };
  const recording = { steps: lookAhead + 1, readRows, tuning: kernels };
  const runner = await Runner.record(gpu, pipelines, family, model, batch, recording);

  const compiled = pipelines.compile(
    (loaded, total) => onProgress?.({ stage: "pipelines", loaded, total }),
    pipelines.without(runner.programs.later),
  );
  compiled.catch(() => undefined); // awaited by the first chunk; streaming may fail before that
  await weights.stream(compiled, batch, withTimeLeft(onProgress), signal);
  await compiled;
  if (gpu.failure) throw gpu.failure;
  if (like && weights.digest.value !== like.digest) {
    throw new SourceError(plan.checkpoint.files[0]!.name, "the weights have changed since they were loaded");
  }
  onProgress?.({ stage: "ready", loaded: 1, total: 1 });
  return { gpu, runner, routing, pages, cache, weightBytes: weights.bytes, digest: weights.digest.value };
}

/** A pair of tables for each rotary embedding of the family, over all regimes. */
async function uploadRopes(gpu: Gpu, { specs }: Regimes, contextTokens: number): Promise<RopeTable[]> {
  const upload = async (label: string, values: Float32Array<ArrayBuffer>): Promise<Range> => {
    const buffer = await gpu.arena.allocate("weights", label, values.byteLength, Usage.storage | Usage.copyDst);
    gpu.queue.writeBuffer(buffer, 0, values);
    return { buffer, offset: 0, size: buffer.size };
  };
  const tables: RopeTable[] = [];
  for (const [i, { dim }] of specs[0]!.entries()) {
    const regimes = specs.map((ropes) => ropes[i]!);
    const { near, far } = ropeTables(regimes, contextTokens);
    const ranges = { near: await upload("rope near", near), far: await upload("rope far", far) };
    tables.push({ dim, regimes: regimes.length, ...ranges });
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
  const spec = family.cacheSpec(config);
  // Splits are measured with keys and values; a latent cache has kernels of its own.
  const { heads: kvHeads, headDim } = spec.kind === "kv" ? spec : { heads: 1, headDim: 64 };
  const groups = spec.kind === "kv" ? EXACT_GROUPS : EXACT_GROUPS.filter((group) => group !== "split");
  const { hiddenSize: hidden } = config;
  // The widest input of a layer is that of its down projection.
  const inputs = [...plan.table.values()].map((s) => (s.kind === "linear" && !s.gatherOnly ? s.inFeatures : 0));
  const heads = Math.max(1, Math.floor(hidden / headDim / kvHeads)) * kvHeads;
  const shapes = { hidden, intermediate: Math.max(...inputs), heads, kvHeads, headDim, pageSize, cache: kv };
  // Not packedDot: it changes results, so it is a caller's choice.
  return tunedFor(gpu, base, { ...shapes, layout: info.weights.format }, { storage: openNotes(), groups });
}

const EXACT_GROUPS = ["matVec", "matMul", "split"] as const;

/** Turns bytes into progress with the time left, from the mean rate so far. */
function withTimeLeft(onProgress: Making["onProgress"]): (loaded: number, total: number) => void {
  const begun = performance.now();
  return (loaded, total) => {
    const seconds = (performance.now() - begun) / 1000;
    const secondsLeft = (seconds / loaded) * (total - loaded);
    onProgress?.({ stage: "weights", loaded, total, ...(seconds > 0.5 && { secondsLeft }) });
  };
}
