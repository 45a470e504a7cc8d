import type { Gpu } from "../gpu/device.ts";
import type { Core } from "./core.ts";
import type {
  Delta,
  EnginePort,
  EngineStats,
  GenerationResult,
  ModelInfo,
  PortInput,
  RowRange,
  SamplingOptions,
} from "./port.ts";
import type { Scheduler } from "./scheduler.ts";
import type { Session } from "./session.ts";

/** The port of an engine that lives on this thread. */
export class InProcessEngine implements EnginePort {
  private disposing: Promise<void> | undefined;

  constructor(
    /** For tests and benchmarks, which look at the device beneath. */
    readonly gpu: Gpu,
    private readonly core: Core,
    private readonly scheduler: Scheduler,
    private readonly session: Session,
    readonly info: ModelInfo,
    private readonly pageSize: number,
  ) {
    // A failed device keeps nothing: its buffers are worth nothing, and the page may want to load again.
    gpu.whenFailed(() => void this.dispose());
  }

  // `async`, so that a refused argument is a rejection, as every other failure is.
  async generate(
    input: PortInput,
    options: SamplingOptions,
    onDelta: (delta: Delta) => void,
    signal?: AbortSignal,
  ): Promise<GenerationResult> {
    return this.session.generate(input, options, onDelta, signal);
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

  stats(): EngineStats {
    const { gpu, core, scheduler } = this;
    const { pages } = scheduler;
    return {
      ...core.counters,
      ...gpu.counters,
      ...scheduler.counts,
      pages: { total: pages.total, used: pages.used, shared: pages.shared, tokensPerPage: this.pageSize },
      gpuBytes: { total: gpu.arena.bytes, byKind: gpu.arena.byKind() },
      adapter: { ...gpu.info },
    };
  }

  /** Ends what is running, waits for the GPU to let go, and frees everything. More than once is once. */
  dispose(): Promise<void> {
    this.disposing ??= this.core.close().then(() => this.gpu.close());
    return this.disposing;
  }
}
