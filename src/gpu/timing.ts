import { Usage, type Arena } from "./arena.ts";
import type { Gpu } from "./device.ts";
import type { Dispatch } from "./pass.ts";

/**
 * How long the GPU takes, by the slope method: passes of R and of 2R repeats of the same work, (t₂ − t₁) / R. Whatever a
 * pass costs by itself (submit, wake-up, the clock's read) is in both and drops out. Passes go in the order R, 2R, 2R, R, so
 * that a clock that drifts does so for both alike.
 */
export interface Slope {
  /** Milliseconds of one repeat: the median of the rounds. */
  readonly ms: number;
  /** Interquartile range over the median. */
  readonly spread: number;
  /** R. */
  readonly repeats: number;
  /** Rounds of four passes. */
  readonly rounds: number;
}

export interface SlopeOptions {
  /** Rounds; 10 where absent. */
  rounds?: number;
  /** A pass of R repeats takes at least so long, so that a coarse clock does no harm. Chrome's ticks are 100 µs. */
  passMs?: number;
  /** No further round is begun after this; one is always made. */
  budgetMs?: number;
  maxRepeats?: number;
  /** For the budget; `performance.now` where absent. */
  now?: () => number;
}

/** Measures `time`, which does r repeats in one pass and says how many milliseconds that took. */
export async function slope(time: (repeats: number) => Promise<number>, options: SlopeOptions = {}): Promise<Slope> {
  const { rounds = 10, passMs = 10, budgetMs = Infinity, maxRepeats = 4096, now = () => performance.now() } = options;
  const begun = now();
  let repeats = 1;
  for (let ms = await time(1); ms < passMs && repeats < maxRepeats; ms = await time(repeats)) {
    const wanted = ms > 0 ? Math.ceil((1.2 * repeats * passMs) / ms) : Infinity;
    repeats = Math.min(maxRepeats, Math.max(repeats + 1, Math.min(8 * repeats, wanted)));
  }
  const slopes: number[] = [];
  let least = Infinity;
  do {
    const first = await time(repeats);
    const [second, third] = [await time(2 * repeats), await time(2 * repeats)];
    slopes.push((second + third - first - (await time(repeats))) / (2 * repeats));
    least = Math.min(least, second / (2 * repeats), third / (2 * repeats));
  } while (slopes.length < rounds && now() - begun < budgetMs);
  // Noise may leave no slope at all. A pass over its repeats is then what they took at most.
  const found = median(slopes);
  const ms = found > 0 ? found : least;
  return {
    ms,
    spread: ms > 0 ? (quantile(slopes, 0.75) - quantile(slopes, 0.25)) / ms : 0,
    repeats,
    rounds: slopes.length,
  };
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** Between neighbours by linear interpolation; NaN of nothing. */
export function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (sorted.length - 1) * q;
  const [low, high] = [sorted[Math.floor(at)], sorted[Math.ceil(at)]];
  return low === undefined || high === undefined ? NaN : low + (high - low) * (at % 1);
}

/** Times passes: by the device's timestamps where it has them, else from the submit to the queue's end. */
export class Stopwatch {
  private constructor(
    private readonly gpu: Gpu,
    private readonly stamps: { set: GPUQuerySet; resolved: GPUBuffer; host: GPUBuffer } | undefined,
  ) {}

  static async create(gpu: Gpu, arena: Arena = gpu.arena): Promise<Stopwatch> {
    if (!gpu.device.features.has("timestamp-query")) return new Stopwatch(gpu, undefined);
    const resolved = await arena.allocate("staging", "timestamps", 16, QUERY_RESOLVE | Usage.copySrc);
    const host = await arena.allocate("staging", "timestamps read", 16, Usage.mapRead | Usage.copyDst);
    return new Stopwatch(gpu, { set: gpu.device.createQuerySet({ type: "timestamp", count: 2 }), resolved, host });
  }

  /** What `pass` reads: "timestamps" are the GPU's own, "queue" is the host's clock around submit and wait. */
  get clock(): "timestamps" | "queue" {
    return this.stamps ? "timestamps" : "queue";
  }

  /** Runs `repeats` of the programs in one pass, taking them in turn, and resolves with its milliseconds. */
  async pass(programs: readonly (readonly Dispatch[])[], repeats: number): Promise<number> {
    const { gpu, stamps } = this;
    const encoder = gpu.device.createCommandEncoder();
    const pass = encoder.beginComputePass(
      stamps && { timestampWrites: { querySet: stamps.set, beginningOfPassWriteIndex: 0, endOfPassWriteIndex: 1 } },
    );
    for (let i = 0; i < repeats; i++) {
      for (const { pipeline, bindGroup, grid } of programs[i % programs.length]!) {
        pass.setPipeline(pipeline.compiled);
        pass.setBindGroup(0, bindGroup);
        pass.dispatchWorkgroups(grid[0], grid[1], grid[2]);
      }
    }
    pass.end();
    if (stamps) {
      encoder.resolveQuerySet(stamps.set, 0, 2, stamps.resolved, 0);
      encoder.copyBufferToBuffer(stamps.resolved, 0, stamps.host, 0, 16);
    }
    const commands = encoder.finish();
    const begun = performance.now();
    gpu.queue.submit([commands]);
    if (!stamps) {
      await gpu.queue.onSubmittedWorkDone();
      return performance.now() - begun;
    }
    await stamps.host.mapAsync(1 /* GPUMapMode.READ */);
    const [from, to] = new BigUint64Array(stamps.host.getMappedRange().slice(0));
    stamps.host.unmap();
    return Number(to! - from!) / 1e6;
  }

  /** Frees the queries; the buffers are the arena's. */
  close(): void {
    this.stamps?.set.destroy();
  }
}

const QUERY_RESOLVE = 0x200; // GPUBufferUsage.QUERY_RESOLVE
