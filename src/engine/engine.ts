import type { Gpu } from "../gpu/device.ts";
import type { Core } from "./core.ts";
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
} from "./port.ts";
import type { Scheduler } from "./scheduler.ts";
import type { Session } from "./session.ts";

/** The port of an engine that lives on this thread. */
export class InProcessEngine implements EnginePort {
  private disposing: Promise<void> | undefined;

  constructor(
    private readonly core: Core,
    private readonly scheduler: Scheduler,
    private readonly session: Session,
    readonly info: ModelInfo,
    private readonly pageSize: number,
  ) {
    // After a failure its buffers are worth nothing, and the page may want to load again.
    core.whenFailed(() => void this.dispose());
  }

  /** The device of now: for tests and benchmarks, which look at it. */
  get gpu(): Gpu {
    return this.core.gpu;
  }

  // `async`, so that a refused argument is a rejection, as every other failure is.
  async generate(
    input: PortInput,
    options: SamplingOptions,
    onDelta: (delta: Delta) => void,
    signal?: AbortSignal,
    allowed?: AllowedTokens,
  ): Promise<GenerationResult> {
    return this.session.generate(input, options, onDelta, signal, allowed);
  }

  async saveSession(
    input: PortInput,
    options: SaveOptions = {},
    signal?: AbortSignal,
  ): Promise<Uint8Array<ArrayBuffer>> {
    return this.session.save(input, options, signal);
  }

  async restoreSession(
    bytes: Uint8Array,
    options: RestoreOptions = {},
    signal?: AbortSignal,
  ): Promise<RestoredSession> {
    return this.session.restore(bytes, options, signal);
  }

  async logits(ids: number[], rows: RowRange, signal?: AbortSignal): Promise<Float32Array> {
    return this.session.logits(ids, rows, signal);
  }

  async score(ids: number[], signal?: AbortSignal): Promise<Float32Array> {
    return this.session.score(ids, signal);
  }

  async encode(text: string, options?: { specialTokens?: boolean }): Promise<number[]> {
    return this.session.encode(text, options);
  }

  async decode(ids: number[], options?: { skipSpecialTokens?: boolean }): Promise<string> {
    return this.session.decode(ids, options);
  }

  routing(): Promise<ExpertCounts[]> {
    return this.core.routing();
  }

  stats(): EngineStats {
    const { gpu, core, scheduler } = this;
    const { counts } = scheduler;
    const { pages, pools } = scheduler;
    const windowed = pools[1]?.pages;
    return {
      ...core.counters,
      ...core.commands,
      ...counts,
      waiting: counts.waiting + core.unprepared,
      pages: { total: pages.total, used: pages.used, shared: pages.shared, tokensPerPage: this.pageSize },
      ...(windowed && { windowPages: { total: windowed.total, used: windowed.used, shared: windowed.shared } }),
      gpuBytes: { total: gpu.arena.bytes, byKind: gpu.arena.byKind() },
      adapter: { ...gpu.info },
    };
  }

  /** Ends what is running, waits for the GPU to let go, and frees everything. More than once is once. */
  dispose(): Promise<void> {
    this.disposing ??= this.core.close();
    return this.disposing;
  }
}
