import { invariant } from "../base/assert.ts";
import { GpuError } from "../base/errors.ts";
import { NO_TOKEN, type BatchPlan } from "../kernels/batch.ts";
import type { PagePool } from "./pages.ts";
import { Sequence, type Group, type Request } from "./sequence.ts";

export interface SchedulerLimits {
  /** Rows of one step: the token budget that chunks prefill. */
  readonly rows: number;
  /** Rows of one step whose logits are read back. */
  readonly readRows: number;
  readonly slots: number;
  readonly pageSize: number;
}

/** What the GPU must know of a slot before its first step. */
export interface SlotSetup {
  readonly slot: number;
  readonly pages: readonly number[];
  /** Entries that are in the cache already: a fork starts at its parent's prompt. */
  readonly length: number;
  readonly temperature: number;
  readonly seed: number;
}

/** One step: what to run, and what its results mean. */
export interface Step {
  readonly head: "sample" | "logits" | "score" | "none";
  readonly batch: BatchPlan;
  readonly rows: number;
  /** Slots to set up before this step. */
  readonly setups: readonly SlotSetup[];
  readonly sequences: readonly Sequence[];
  /** For each sample, whose it is. */
  readonly sampled: readonly Sequence[];
}

/**
 * Continuous batching, pure: requests come in, steps come out. First come, first served; a request is admitted when slots and
 * the pages of its worst case are there, so that nothing that runs can starve for pages. Decode rows go before prefill
 * rows, and a long prompt is cut to what is left of the step, so that no prompt stalls those who are already talking.
 */
export class Scheduler {
  private readonly waiting: Request[] = [];
  private readonly groups: Group[] = [];
  private readonly freeSlots: number[];
  private setups: SlotSetup[] = [];
  private copies: { from: number; to: number }[] = [];
  private lastWasRead = false;
  private logitsUnderWay = false;

  constructor(
    private readonly limits: SchedulerLimits,
    readonly pages: PagePool,
  ) {
    this.freeSlots = Array.from({ length: limits.slots }, (_, i) => limits.slots - 1 - i);
  }

  get counts(): { running: number; waiting: number } {
    return { running: this.groups.reduce((n, g) => n + g.sequences.length, 0), waiting: this.waiting.length };
  }

  /** Pages that a request takes when nothing is shared but the prompt's full pages. */
  pagesNeeded(request: Request): number {
    const { whole, own } = this.worstCase(request);
    return whole + (request.n - 1) * own;
  }

  add(request: Request): void {
    this.waiting.push(request);
  }

  /** Ends a request, or one choice of it, with `reason`. Pages go back when no step that is under way uses them. */
  cancel(request: Request, reason: "abort" | "stop", choice?: number): void {
    const at = this.waiting.indexOf(request);
    if (at >= 0) {
      this.waiting.splice(at, 1);
      for (let i = 0; i < request.n; i++) request.listener.onFinish?.(i, reason);
      request.listener.onDone();
      return;
    }
    const group = this.groups.find((g) => g.request === request);
    if (!group) return;
    for (const sequence of [...group.sequences]) {
      if (choice === undefined || sequence.choice === choice) this.finish(sequence, reason);
    }
  }

  /** Ends everything with an error: the device is gone. */
  fail(error: Error): void {
    const requests = [...this.waiting.splice(0), ...this.groups.splice(0).map((g) => g.request)];
    for (const request of requests) request.listener.onError(error);
  }

  /** The next step, or null when there is nothing to compute before results come back. */
  plan(): Step | null {
    this.admit();
    const readers = this.groups.filter(({ request: { task }, sequences }) => {
      // Logits are large, so there is room for one step's on their way to the host.
      const wait = task.kind === "logits" && this.logitsUnderWay;
      return task.kind !== "generate" && !wait && sequences[0]!.runnable;
    });
    const runnable = this.groups.flatMap((g) => (g.request.task.kind === "generate" ? g.sequences : []));
    const generating = runnable.filter((s) => s.runnable);
    // A step has one kind of head: readers and generators take turns.
    const read = readers.length > 0 && (generating.length === 0 || !this.lastWasRead);
    if (!read && generating.length === 0) return null;
    this.lastWasRead = read;
    const step = read ? this.planRead(readers[0]!) : this.planGenerate(generating);
    for (const sequence of step.sequences) sequence.inFlight++;
    if (step.head === "logits") this.logitsUnderWay = true;
    return step;
  }

  /** Takes a step's results: token ids for "sample", else f32 values by row. */
  commit(step: Step, tokens: Uint32Array | null, values: Float32Array | null): void {
    step.sampled.forEach((sequence, i) => {
      if (tokens && !sequence.finished) this.receive(sequence, tokens[i]!);
    });
    if (step.head === "logits") this.logitsUnderWay = false;
    const reader = step.sequences[0];
    if (step.head === "logits" || step.head === "score") {
      invariant(reader && values, "a reading step has a reader and values");
      if (!reader.finished && values.length > 0) reader.group.request.listener.onRows?.(values);
    }
    for (const sequence of step.sequences) {
      sequence.inFlight--;
      const { task } = sequence.group.request;
      const readAll = task.kind !== "generate" && !sequence.prefilling && sequence.inFlight === 0;
      if (readAll && !sequence.finished) this.finish(sequence, "stop");
      else this.settle(sequence);
    }
  }

  private receive(sequence: Sequence, token: number): void {
    const { request } = sequence.group;
    const { task, listener, endIds } = request;
    invariant(task.kind === "generate", "only generations receive tokens");
    sequence.received++;
    if (token === NO_TOKEN) {
      listener.onError(new GpuError("The model's logits are not finite numbers; no token can be drawn from them."));
      return this.cancel(request, "abort");
    }
    if (endIds.has(token)) return this.finish(sequence, "stop");
    listener.onToken?.(sequence.choice, token); // may cancel: a stop string
    if (!sequence.finished && sequence.received === task.maxTokens) this.finish(sequence, "length");
  }

  private finish(sequence: Sequence, reason: "stop" | "length" | "abort"): void {
    if (sequence.finished) return;
    sequence.finished = reason;
    sequence.group.request.listener.onFinish?.(sequence.choice, reason);
    this.settle(sequence);
  }

  /** Gives slot and pages back once the sequence is finished and nothing under way touches them. */
  private settle(sequence: Sequence): void {
    const { group } = sequence;
    if (!sequence.finished || sequence.inFlight > 0 || !group.sequences.includes(sequence)) return;
    group.sequences.splice(group.sequences.indexOf(sequence), 1);
    this.freeSlots.push(sequence.slot);
    this.pages.release(sequence.pages);
    if (group.sequences.length > 0) return;
    this.groups.splice(this.groups.indexOf(group), 1);
    group.request.listener.onDone();
  }

  private worstCase({ ids, task }: Request): { whole: number; own: number; shared: number } {
    const { pageSize } = this.limits;
    // The last token drawn is never computed, so it takes no entry.
    const entries = ids.length + (task.kind === "generate" ? Math.max(0, task.maxTokens - 1) : 0);
    const whole = Math.max(1, Math.ceil(entries / pageSize));
    const shared = Math.floor(ids.length / pageSize);
    return { whole, own: whole - shared, shared };
  }

  private admit(): void {
    for (let next = this.waiting[0]; next; next = this.waiting[0]) {
      if (next.n > this.freeSlots.length || this.pagesNeeded(next) > this.pages.available) return;
      this.waiting.shift();
      const { whole, own, shared } = this.worstCase(next);
      const group: Group = { request: next, sequences: [] };
      const leaderPages = this.take(whole);
      for (let choice = 0; choice < next.n; choice++) {
        const prefix = leaderPages.slice(0, shared);
        if (choice > 0) this.pages.share(prefix);
        const pages = choice === 0 ? leaderPages : [...prefix, ...this.take(own)];
        const slot = this.freeSlots.pop()!;
        group.sequences.push(new Sequence(group, choice, slot, pages));
        const { task } = next;
        this.setups.push({
          slot,
          pages,
          length: choice === 0 ? 0 : next.ids.length,
          temperature: task.kind === "generate" ? task.temperature : 0,
          seed: task.kind === "generate" ? (task.seed + choice) >>> 0 : 0,
        });
      }
      this.groups.push(group);
    }
  }

  private take(count: number): number[] {
    const pages = this.pages.allocate(count);
    invariant(pages, "admission counted pages that are not there");
    return pages;
  }

  private takeSetups(): { setups: SlotSetup[]; copies: { from: number; to: number }[] } {
    const { setups, copies } = this;
    this.setups = [];
    this.copies = [];
    return { setups, copies };
  }

  private planGenerate(runnable: readonly Sequence[]): Step {
    const segments: BatchPlan["segments"] = [];
    const samples: BatchPlan["samples"] = [];
    const sequences: Sequence[] = [];
    const sampled: Sequence[] = [];
    const prologue = this.takeSetups();
    let rows = 0;
    const draw = (sequence: Sequence, row: number): void => {
      samples.push({ row, slot: sequence.slot });
      sampled.push(sequence);
      sequence.drawn++;
      if (!sequences.includes(sequence)) sequences.push(sequence);
    };
    for (const sequence of runnable.filter((s) => !s.prefilling)) {
      segments.push({ slot: sequence.slot, tokens: null });
      draw(sequence, rows++);
      sequence.scheduled++;
    }
    for (const sequence of runnable.filter((s) => s.prefilling)) {
      const { ids } = sequence.group.request;
      const count = Math.min(ids.length - sequence.scheduled, this.limits.rows - rows);
      if (count === 0) break;
      segments.push({ slot: sequence.slot, tokens: ids.slice(sequence.scheduled, sequence.scheduled + count) });
      sequences.push(sequence);
      sequence.scheduled += count;
      rows += count;
      if (!sequence.prefilling) {
        for (const fork of sequence.group.sequences) {
          if (fork.finished && fork !== sequence) continue;
          if (fork !== sequence) this.fork(sequence, fork);
          draw(fork, rows - 1);
        }
      }
    }
    const batch = { segments, samples, copies: prologue.copies };
    return { head: samples.length ? "sample" : "none", batch, rows, sequences, sampled, setups: prologue.setups };
  }

  /** The fork starts at the prompt's end; the page that the prompt fills in part is copied before the next step. */
  private fork(parent: Sequence, child: Sequence): void {
    const length = parent.group.request.ids.length;
    child.scheduled = length;
    const last = Math.floor(length / this.limits.pageSize);
    if (length % this.limits.pageSize) this.copies.push({ from: parent.pages[last]!, to: child.pages[last]! });
  }

  private planRead({ request, sequences: [sequence] }: Group): Step {
    invariant(sequence && request.task.kind !== "generate", "a reader has one sequence");
    const { ids, task } = request;
    const prologue = this.takeSetups();
    const first = sequence.scheduled;
    const count = Math.min(ids.length - first, this.limits.readRows);
    const tokens = ids.slice(first, first + count);
    sequence.scheduled += count;
    // Scores are of the next id, so the last row has none.
    const [from, to] = task.kind === "logits" ? [task.from, task.to] : [0, ids.length - 1];
    const samples: BatchPlan["samples"] = [];
    for (let row = Math.max(from, first); row < Math.min(to, first + count); row++) {
      samples.push({ row: row - first, slot: sequence.slot, ...(task.kind === "score" && { token: ids[row + 1]! }) });
    }
    return {
      head: samples.length ? task.kind : "none",
      batch: { segments: [{ slot: sequence.slot, tokens }], samples, copies: prologue.copies },
      rows: count,
      setups: prologue.setups,
      sequences: [sequence],
      sampled: [],
    };
  }
}
