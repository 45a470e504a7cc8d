import { DeviceLostError } from "../base/errors.ts";
import type { Gpu } from "../gpu/device.ts";
import type { CacheView, LatentView } from "../kernels/batch.ts";
import type { Routing } from "./routing.ts";
import type { Runner } from "./runner.ts";

/** A model on a device. */
export interface Assembly {
  readonly gpu: Gpu;
  readonly runner: Runner;
  /** Of a model with experts. */
  readonly routing: Routing | null;
  /** Pages of the cache, by pool. */
  readonly pages: readonly number[];
  readonly cache: CacheView | LatentView;
  /** Bytes of GPU memory that the weights take. */
  readonly weightBytes: number;
  /** Names the published weights. */
  readonly digest: string;
}

/** Losses that are made good within a window of time. What loses its device more often than that will do so again. */
const MOST_LOSSES = 3;
const WINDOW_MS = 60_000;

/** Puts the model on another device when one is lost, as often as there is hope. */
export class Recovery {
  /** Devices replaced so far. */
  count = 0;
  /** When devices were lost, within the window; those that were to replace one among them. */
  private readonly losses: number[] = [];
  private readonly abandoned = new AbortController();

  /**
   * @param rebuild makes an assembly on a new device, with nothing left allocated where it fails.
   * @param now milliseconds of a clock.
   */
  constructor(
    private readonly rebuild: (signal: AbortSignal) => Promise<Assembly>,
    private readonly now: () => number = () => performance.now(),
  ) {}

  /** A device that somebody destroyed was not lost by accident. */
  static isMendable(error: Error): error is DeviceLostError {
    return error instanceof DeviceLostError && error.reason !== "destroyed";
  }

  /**
   * The model on another device. One that is lost as well, while the model is put on it, is replaced in turn.
   * @throws DeviceLostError that says why there is no other, with that error as its cause: no adapter is left, files cannot
   * be read again, memory is short, or too many were lost in a minute
   */
  async replace(loss: DeviceLostError): Promise<Assembly> {
    for (let last = loss; ;) {
      this.note(last);
      try {
        const assembly = await this.rebuild(this.abandoned.signal);
        this.count++;
        return assembly;
      } catch (error) {
        if (!Recovery.isMendable(error as Error)) throw beyondRepair(last, (error as Error).message, error);
        last = error as DeviceLostError;
      }
    }
  }

  /** Nobody waits for a device any more: what is being made is given up. */
  abandon(): void {
    this.abandoned.abort();
  }

  private note(loss: DeviceLostError): void {
    const now = this.now();
    while (this.losses.length > 0 && now - this.losses[0]! > WINDOW_MS) this.losses.shift();
    this.losses.push(now);
    if (this.losses.length > MOST_LOSSES) {
      throw beyondRepair(loss, `${this.losses.length} were lost within ${WINDOW_MS / 1000} seconds`, loss);
    }
  }
}

function beyondRepair(loss: DeviceLostError, why: string, cause: unknown): DeviceLostError {
  const detail = `${loss.detail || "no further detail"}; it could not be replaced: ${why.replace(/\.$/, "")}`;
  return new DeviceLostError(loss.reason, detail, { cause });
}
