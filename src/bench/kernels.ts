import { AbortError, GpuError, OutOfMemoryError, TesseraError } from "../base/errors.ts";
import { VERSION } from "../base/version.ts";
import { Rehearsal, WeightPool, type Recording } from "../engine/rehearsal.ts";
import { isSoftware } from "../engine/tune.ts";
import { openGpu, type Gpu } from "../gpu/device.ts";
import { submit } from "../gpu/pass.ts";
import { Readback } from "../gpu/readback.ts";
import { slope, Stopwatch, type SlopeOptions } from "../gpu/timing.ts";
import { Pipelines } from "../kernels/define.ts";
import { tuningFor, type Tuning } from "../kernels/tuning.ts";
import { fullCases, smallCases, type KernelCase } from "./cases/index.ts";
import { countDispatches } from "./count.ts";
import { measurePeaks } from "./peaks.ts";
import type { CaseResult, KernelReport } from "./report.ts";
import { boundOf, type Peaks } from "./roofline.ts";

export interface KernelBenchOptions {
  /** Cases whose name contains this; several words, all of them. */
  filter?: string;
  /** Few rounds over small shapes. */
  quick?: boolean;
  /** The shapes of a GPU on a software device too. */
  full?: boolean;
  /** What the report names as its agent. */
  agent?: string;
  /** Bytes of weights to rotate; as many as the device's cache has several times over where absent. */
  poolBytes?: number;
  /** Variants other than the device's own. */
  tuning?: Partial<Tuning>;
  onProgress?: (progress: KernelBenchProgress) => void;
  signal?: AbortSignal;
  device?: GPUDevice;
}

export interface KernelBenchProgress {
  readonly done: number;
  readonly total: number;
  /** What is measured now: "peaks", or a case. */
  readonly at: string;
  readonly peaks?: Peaks;
  /** The case that was finished just now. */
  readonly result?: CaseResult;
}

/** Distinct sets of weights at most: each has its own bind groups. */
const MOST_SETS = 128;
const OUTPUT_BYTES = 1 << 20;

/** What a run takes its time for. */
interface Effort {
  readonly small: boolean;
  readonly poolBytes: number;
  readonly slope: SlopeOptions;
}

function effortOf(software: boolean, { quick = false, full = false, poolBytes }: KernelBenchOptions): Effort {
  const small = (quick || software) && !full;
  const light = quick || software;
  return {
    small,
    poolBytes: poolBytes ?? (light ? 64 << 20 : 512 << 20),
    slope: light ? { rounds: 3, passMs: 2, budgetMs: 1000 } : { rounds: 10, passMs: 10, budgetMs: 8000 },
  };
}

/** The cases that these options ask for, in the order in which they run. */
export function chooseCases(small: boolean, filter = ""): KernelCase[] {
  const words = filter.toLowerCase().split(/\s+/).filter(Boolean);
  return (small ? smallCases() : fullCases()).filter(({ name }) => words.every((word) => name.includes(word)));
}

/** Measures this device's peaks and every kernel beside them. Leaves nothing allocated. */
export async function benchKernels(options: KernelBenchOptions = {}): Promise<KernelReport> {
  const gpu = await openGpu(options);
  try {
    return await new KernelBench(gpu, options).run();
  } catch (error) {
    throw error instanceof TesseraError ? error : await gpu.explain(error);
  } finally {
    gpu.close();
  }
}

class KernelBench {
  private readonly software: boolean;
  private readonly effort: Effort;
  private readonly tuning: Tuning;
  private pipelines: Pipelines;
  /** Kernels that count their barriers: never among those that are timed. */
  private counting: Pipelines;

  constructor(
    private readonly gpu: Gpu,
    private readonly options: KernelBenchOptions,
  ) {
    this.software = isSoftware(gpu.info);
    this.effort = effortOf(this.software, options);
    this.tuning = { ...tuningFor(gpu.info), ...options.tuning };
    this.pipelines = new Pipelines(gpu.device);
    this.counting = new Pipelines(gpu.device);
  }

  async run(): Promise<KernelReport> {
    const { gpu, options, effort } = this;
    const cases = chooseCases(effort.small, options.filter);
    const total = cases.length + 1;
    const say = (progress: Omit<KernelBenchProgress, "total">): void => options.onProgress?.({ total, ...progress });
    say({ done: 0, at: "peaks" });
    const stopwatch = await Stopwatch.create(gpu);
    const pool = await this.allocatePool();
    const peaks = await this.measurePeaks(pool, stopwatch);
    say({ done: 1, at: cases[0]?.name ?? "", peaks });
    const results: CaseResult[] = [];
    const skipped: { name: string; reason: string }[] = [];
    for (const [i, one] of cases.entries()) {
      if (options.signal?.aborted) throw new AbortError("Measuring", options.signal.reason);
      const result = await this.tryToMeasure(one, pool, stopwatch, peaks);
      if (gpu.failure) throw gpu.failure;
      if (typeof result === "string") skipped.push({ name: one.name, reason: result });
      else results.push(result);
      say({ done: i + 2, at: cases[i + 1]?.name ?? "", ...(typeof result === "string" ? {} : { result }) });
    }
    stopwatch.close();
    return {
      kind: "tessera kernels",
      schema: 1,
      version: VERSION,
      date: new Date().toISOString(),
      agent: options.agent ?? globalThis.navigator?.userAgent ?? "",
      device: { ...gpu.info },
      software: this.software,
      clock: stopwatch.clock,
      tuning: this.tuning,
      peaks,
      cases: results,
      skipped,
    };
  }

  /** As much as is wanted, or half of that, or a quarter, …: a device does not tell beforehand. */
  private async allocatePool(): Promise<WeightPool> {
    for (let bytes = this.effort.poolBytes; ; bytes /= 2) {
      try {
        return await WeightPool.allocate(this.gpu, bytes);
      } catch (error) {
        if (!(error instanceof OutOfMemoryError) || bytes < 32 << 20) throw error;
      }
    }
  }

  private async measurePeaks(pool: WeightPool, stopwatch: Stopwatch): Promise<Peaks> {
    const rehearsal = await Rehearsal.open(this.gpu, { segments: [{ rows: 1, length: 0 }] }, this.pipelines);
    try {
      return await measurePeaks(this.gpu, rehearsal, pool, stopwatch, {
        ...this.effort.slope,
        small: this.effort.small,
      });
    } finally {
      rehearsal.close();
    }
  }

  /** A kernel that this device's compiler refuses is told, and does not stand in the way of the others. */
  private async tryToMeasure(...args: Parameters<KernelBench["measure"]>): Promise<CaseResult | string> {
    try {
      return await this.measure(...args);
    } catch (error) {
      if (!(error instanceof GpuError || error instanceof OutOfMemoryError) || this.gpu.failure) throw error;
      this.pipelines = new Pipelines(this.gpu.device);
      this.counting = new Pipelines(this.gpu.device);
      return error.message;
    }
  }

  /** One case; a sentence where it cannot be measured here. */
  private async measure(
    one: KernelCase,
    pool: WeightPool,
    stopwatch: Stopwatch,
    peaks: Peaks,
  ): Promise<CaseResult | string> {
    const sets = pool.sets(one.setBytes, one.setBytes === 0 ? 1 : MOST_SETS);
    if (sets.length === 0) return `its weights of ${one.setBytes} bytes do not fit the ${pool.bytes} of the pool`;
    const rehearsal = await Rehearsal.open(this.gpu, one.scene, this.pipelines);
    try {
      if (one.setBytes > 0) await rehearsal.run((graph) => pool.fillWith(graph, one.pattern));
      const table = await rehearsal.table(Math.max(16, one.tableBytes ?? 0));
      const recording = await rehearsal.record(
        sets.length,
        (graph, set) => ({ result: one.draw(graph, sets[set]!, table) }),
        this.tuning,
      );
      const begun = performance.now();
      const sane = await this.isSane(rehearsal, recording);
      const firstMs = performance.now() - begun;
      const { ms, spread, rounds, repeats } = await slope(
        (count) => stopwatch.pass(recording.programs, count),
        this.effort.slope,
      );
      const draw = (graph: Parameters<KernelCase["draw"]>[0]): void => void one.draw(graph, sets[0]!, table);
      const dispatches = await countDispatches(this.gpu, rehearsal, this.counting, draw, recording.graph);
      const bound = boundOf(one, peaks);
      return {
        name: one.name,
        ms,
        spread,
        rounds,
        repeats,
        compileMs: recording.compileMs,
        firstMs,
        bytes: one.bytes,
        flops: one.flops,
        dispatches,
        rotatedBytes: one.setBytes === 0 ? 0 : Math.min(sets.length, 2 * repeats) * one.setBytes,
        gbPerS: ms > 0 ? one.bytes / (ms * 1e6) : 0,
        gflopPerS: ms > 0 ? one.flops / (ms * 1e6) : 0,
        share: ms > 0 ? bound.ms / ms : 0,
        boundBy: bound.by,
        sane,
      };
    } finally {
      rehearsal.close();
    }
  }

  /** Runs it once and looks at what came out, its first megabyte. */
  private async isSane(rehearsal: Rehearsal, recording: Recording): Promise<boolean> {
    const { buffer, size } = recording.outputs["result"]!;
    const bytes = Math.min(size, OUTPUT_BYTES);
    const readback = await Readback.create(rehearsal.arena, "result", 1, bytes);
    const pending = readback.take(buffer, bytes);
    submit(this.gpu, [recording.programs[0]!], [pending.copy]);
    const values = new Float32Array(await pending.read());
    return values.every(Number.isFinite) && values.some((value) => value !== 0);
  }
}
