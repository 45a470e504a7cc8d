import { invariant } from "../base/assert.ts";
import { DisposedError } from "../base/errors.ts";
import type { Gpu } from "../gpu/device.ts";
import type { Runner, StepResult } from "./runner.ts";
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
 * nothing to do, and a failure of the device ends it and everything in it.
 */
export class Core {
  readonly counters = { steps: 0, tokens: 0, promptTokens: 0, hostMs: 0 };
  private readonly underWay: UnderWay[] = [];
  private looping: Promise<void> | undefined;
  private ended: Error | undefined;

  constructor(
    private readonly gpu: Gpu,
    private readonly scheduler: Scheduler,
    private readonly runner: Runner,
    /** Steps that may be under way. */
    private readonly depth: number,
  ) {
    gpu.whenFailed((error) => this.end(error));
  }

  /** Starts a request. Its listener hears of everything that follows; what is wrong with it is thrown here. */
  add(request: Request): void {
    if (this.ended) throw this.ended;
    this.scheduler.check(request);
    this.counters.promptTokens += request.ids.length;
    this.scheduler.add(request);
    // Deferred, so that requests made together start together, and a listener never runs inside the call that made it.
    this.looping ??= Promise.resolve().then(() => this.loop());
  }

  cancel(request: Request, reason: "abort" | "stop", choice?: number): void {
    this.scheduler.cancel(request, reason, choice);
  }

  /** Ends every request with `error`, once; later requests are refused with it. */
  end(error: Error): void {
    if (this.ended) return;
    this.ended = error;
    this.scheduler.fail(error);
  }

  /** Ends everything and waits until no step is under way. */
  async close(): Promise<void> {
    this.end(new DisposedError());
    await this.looping;
  }

  private async loop(): Promise<void> {
    try {
      while (!this.ended) {
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
      this.gpu.fail(await this.gpu.explain(error));
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
    const result = this.runner.run(step);
    result.catch(() => undefined); // awaited later; until then a rejection is not "unhandled"
    this.counters.hostMs += performance.now() - begun;
    return result;
  }
}
