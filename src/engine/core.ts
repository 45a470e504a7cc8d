import { invariant } from "../base/assert.ts";
import { DisposedError, type DeviceLostError } from "../base/errors.ts";
import type { Gpu } from "../gpu/device.ts";
import type { ExpertCounts } from "./port.ts";
import { needsOf, type Needs } from "./programs.ts";
import { Recovery, type Assembly } from "./recovery.ts";
import type { StepResult } from "./runner.ts";
import type { Scheduler } from "./scheduler.ts";
import type { Request } from "./sequence.ts";
import type { Step } from "./step.ts";

interface UnderWay {
  readonly step: Step;
  readonly result: Promise<StepResult>;
}

/**
 * The step loop: schedule, run, commit. Several steps are under way at a time, so that the GPU has its next work before
 * the host has seen the last tokens; what a sequence computes past its end is discarded. The loop sleeps when there is
 * nothing to do. When the device is lost, everything waits for another and is computed again there from what is known;
 * any other failure of the device ends the loop and everything in it.
 */
export class Core {
  readonly counters = { steps: 0, tokens: 0, promptTokens: 0, hostMs: 0 };
  private readonly underWay: UnderWay[] = [];
  /** Requests that wait for pipelines to be compiled. */
  private readonly preparing = new Set<Request>();
  private looping: Promise<void> | undefined;
  private recovering: Promise<void> | undefined;
  private ended: Error | undefined;
  private onFailure: () => void = () => undefined;
  /** Sent to devices that were lost. */
  private readonly sent = { dispatches: 0, submits: 0 };

  constructor(
    private assembly: Assembly,
    private readonly scheduler: Scheduler,
    /** Steps that may be under way. */
    private readonly depth: number,
    /** Absent: a lost device is the end. */
    private readonly recovery?: Recovery,
  ) {
    this.watch(assembly.gpu);
  }

  /** The device of now. */
  get gpu(): Gpu {
    return this.assembly.gpu;
  }

  /** Commands sent since load, and devices that were replaced. */
  get commands() {
    const { dispatches, submits } = this.gpu.counters;
    return {
      dispatches: this.sent.dispatches + dispatches,
      submits: this.sent.submits + submits,
      recoveries: this.recovery?.count ?? 0,
    };
  }

  /** Requests whose pipelines are being compiled. */
  get unprepared(): number {
    return this.preparing.size;
  }

  /** How often each expert was chosen on this device. */
  async routing(): Promise<ExpertCounts[]> {
    await this.recovering;
    if (this.ended) throw this.ended;
    const { gpu, routing } = this.assembly;
    try {
      return (await routing?.read()) ?? [];
    } catch (error) {
      throw await gpu.explain(error);
    }
  }

  /** Starts a request. Its listener hears of everything that follows; what is wrong with it is thrown here. */
  add(request: Request): void {
    if (this.ended) throw this.ended;
    this.scheduler.check(request);
    this.counters.promptTokens += request.ids.length;
    const needs = needsOf(request);
    if (this.assembly.runner.programs.isReadyFor(needs)) return this.admit(request);
    void this.admitWhenReady(request, needs);
  }

  cancel(request: Request, reason: "abort" | "stop", choice?: number): void {
    if (this.preparing.delete(request)) this.admit(request); // to be over at once, as if it had waited for room
    this.scheduler.cancel(request, reason, choice);
  }

  /** Calls back when a failure has ended everything, at once if one has. */
  whenFailed(callback: () => void): void {
    if (this.ended) callback();
    else this.onFailure = callback;
  }

  private admit(request: Request): void {
    this.scheduler.add(request);
    this.start();
  }

  private async admitWhenReady(request: Request, needs: Needs): Promise<void> {
    this.preparing.add(request);
    try {
      await this.prepare(needs);
      if (this.preparing.delete(request)) this.admit(request);
    } catch (error) {
      this.preparing.delete(request);
      if (this.ended !== error) request.listener.onError(error as Error); // the end has told everybody
    }
  }

  /** Compiles what a request needs; when the device is lost meanwhile, on the next one. */
  private async prepare(needs: Needs): Promise<void> {
    for (;;) {
      await this.recovering;
      if (this.ended) throw this.ended;
      const { gpu, runner } = this.assembly;
      try {
        await runner.programs.prepare(needs);
        if (this.assembly.runner === runner) return;
      } catch (error) {
        const reason = await gpu.explain(error);
        if (!this.recovering) throw reason;
      }
    }
  }

  /** Ends everything, waits until no step is under way, and frees the device. */
  async close(): Promise<void> {
    this.end(new DisposedError());
    await this.looping;
    await this.recovering;
    this.gpu.close();
  }

  /** Ends every request with `error`, once; later requests are refused with it. */
  private end(error: Error): void {
    if (this.ended) return;
    this.ended = error;
    this.recovery?.abandon();
    this.scheduler.fail(error);
    for (const { listener } of this.preparing) listener.onError(error);
    this.preparing.clear();
  }

  private fail(error: Error): void {
    this.end(error);
    this.onFailure();
  }

  private watch(gpu: Gpu): void {
    gpu.whenFailed((error) => {
      if (this.ended) return;
      if (this.recovery && Recovery.isMendable(error)) this.recovering = this.recover(this.recovery, error);
      else this.fail(error);
    });
  }

  private async recover(recovery: Recovery, loss: DeviceLostError): Promise<void> {
    const { gpu: lost, runner } = this.assembly;
    lost.close(); // whatever waits for its results hears at once that they will not come
    await this.looping;
    if (this.ended) return;
    this.scheduler.restart();
    try {
      const assembly = await recovery.replace(loss);
      this.sent.dispatches += lost.counters.dispatches;
      this.sent.submits += lost.counters.submits;
      this.assembly = assembly;
      await this.prepareLike(runner.programs.needs);
      this.recovering = undefined;
      this.watch(assembly.gpu);
      this.start();
    } catch (error) {
      if (!this.ended) this.fail(error as Error);
    }
  }

  /** Whoever runs will find on this device what was compiled for him on the last one. */
  private async prepareLike(needs: readonly Needs[]): Promise<void> {
    const { gpu, runner } = this.assembly;
    try {
      await runner.programs.prepare(...needs);
    } catch (error) {
      const reason = await gpu.explain(error);
      if (!gpu.failure) throw reason; // one that is lost again is replaced again
    }
  }

  /** Deferred, so that requests made together start together, and a listener never runs inside the call that made it. */
  private start(): void {
    if (!this.recovering) this.looping ??= Promise.resolve().then(() => this.loop());
  }

  private async loop(): Promise<void> {
    const { gpu } = this;
    try {
      while (!this.ended && !gpu.failure) {
        const step = this.underWay.length < this.depth ? this.plan() : null;
        if (step) {
          this.underWay.push({ step, result: this.encode(step) });
          continue;
        }
        const oldest = this.underWay.shift();
        if (!oldest) {
          invariant(this.scheduler.idle || this.ended, "requests are left, but no step can be planned for them");
          break;
        }
        await this.finish(oldest);
      }
    } catch (error) {
      gpu.fail(await gpu.explain(error));
    } finally {
      // What is still under way is of no interest, but its rejections must not go unhandled.
      const rest = this.underWay.splice(0).map((u) => u.result);
      this.looping = undefined;
      await Promise.allSettled(rest);
    }
  }

  private async finish({ step, result }: UnderWay): Promise<void> {
    const { tokens, values, logprobsOf } = await result;
    // An error that the device reported before these results means that they cannot be trusted.
    if (this.gpu.failure) throw this.gpu.failure;
    if (this.ended) return;
    this.counters.steps++;
    this.counters.tokens += this.scheduler.commit(step, tokens, values, logprobsOf);
  }

  private plan(): Step | null {
    const begun = performance.now();
    const step = this.scheduler.plan();
    this.counters.hostMs += performance.now() - begun;
    return step;
  }

  private encode(step: Step): Promise<StepResult> {
    const begun = performance.now();
    const result = this.assembly.runner.run(step);
    result.catch(() => undefined); // awaited later; until then a rejection is not "unhandled"
    this.counters.hostMs += performance.now() - begun;
    return result;
  }
}
