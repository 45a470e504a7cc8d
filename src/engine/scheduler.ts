import type { Logprobs } from "./port.ts";
import { invariant } from "../base/assert.ts";
import { ArgumentError, GpuError, TooLargeError } from "../base/errors.ts";
import { NO_TOKEN } from "../kernels/batch.ts";
import { PagePool } from "./pages.ts";
import { Paging, type CachePool } from "./paging.ts";
import { Residents } from "./residents.ts";
import { before, Group, type Request, type Sequence } from "./sequence.ts";
import { Draft, type Step } from "./step.ts";
import { readsBack, Transfers } from "./transfers.ts";

export type { SlotSetup, Step } from "./step.ts";

export interface SchedulerLimits {
  /** Rows of one step: the token budget that chunks prefill. */
  readonly rows: number;
  /** Rows of one step whose logits are read back. */
  readonly readRows: number;
  readonly slots: number;
  readonly pageSize: number;
  /** Names what a page holds besides its tokens: weights and their layout, cache format. Pages are shared within one salt. */
  readonly salt?: string;
}

/**
 * Continuous batching, pure: requests come in, steps come out.
 *
 * `Residents` says who is on the GPU. Decode rows go before prefill rows, and a long prompt is cut to what is left of the
 * step, so that no prompt stalls those who are already talking. Pages are given as rows are planned; since a request fits
 * alone (`check`), everybody is served in the end.
 */
export class Scheduler {
  readonly pools: readonly CachePool[];
  readonly counters = { hitTokens: 0, prefillRows: 0, decodeRows: 0 };
  private readonly residents: Residents;
  private readonly paging: Paging;
  private readonly transfers: Transfers;
  private arrivals = 0;
  private lastWasRead = false;
  /** Logits or a page, on their way to the host; there is room for one step's. */
  private readUnderWay = false;

  /** Pools of the layers that see alike: one for most models, two where some layers have a window and others do not. */
  constructor(
    private readonly limits: SchedulerLimits,
    pools: PagePool | readonly CachePool[],
  ) {
    this.pools = pools instanceof PagePool ? [{ pages: pools, window: Infinity }] : pools;
    this.paging = new Paging(this.pools, limits.pageSize, Math.max(limits.rows, limits.readRows));
    this.residents = new Residents(limits, this.paging);
    this.transfers = new Transfers(this.paging, limits.pageSize, (counts, { group }) =>
      this.residents.obtain(counts, group),
    );
  }

  /** The first pool: that of the layers without a window, where there are any. */
  get pages(): PagePool {
    return this.pools[0]!.pages;
  }

  /** For `EngineStats`. */
  get counts() {
    const { hitTokens, prefillRows, decodeRows } = this.counters;
    const { groups, waiting, preemptions } = this.residents;
    return {
      running: groups.reduce((n, g) => n + g.sequences.length, 0),
      waiting: waiting.length,
      preemptions,
      rows: { prefill: prefillRows, decode: decodeRows },
      prefix: { hitTokens, cachedPages: this.pages.cached },
    };
  }

  /** Nobody runs and nobody waits. */
  get idle(): boolean {
    return this.residents.groups.length + this.residents.waiting.length === 0;
  }

  /** @throws ArgumentError or TooLargeError for a request that could never be run */
  check(request: Request): void {
    const { ids, n, task, priority = 0 } = request;
    const { slots } = this.limits;
    if (!Number.isInteger(n) || n < 1 || n > slots) {
      throw new ArgumentError(`n is ${n}; this engine runs 1 to ${slots} sequences at a time.`);
    }
    if (!Number.isFinite(priority)) throw new ArgumentError(`priority is ${priority}; it has to be a finite number.`);
    if (ids.length < (task.kind === "score" ? 2 : 1)) throw new ArgumentError(`${ids.length} ids are too few.`);
    if (task.kind === "generate" && !(task.maxTokens >= 1)) {
      throw new ArgumentError(`maxTokens is ${task.maxTokens}; it has to be an integer ≥ 1.`);
    }
    if (task.kind !== "generate" && n > 1) throw new ArgumentError(`n is ${n}; rows are read once.`);
    for (const [k, needed] of this.paging.worstCase(request).entries()) {
      const { total } = this.pools[k]!.pages;
      if (needed <= total) continue;
      throw new TooLargeError(
        `The cache of this request needs ${needed} pages, the pool has ${total}; it`,
        needed,
        "Ask for fewer tokens (maxTokens), a smaller n, or load with a larger memoryBytes.",
      );
    }
  }

  /** @throws what the request's own mask throws for its first draw; then it is not added */
  add(request: Request): void {
    const group = new Group(request, this.arrivals++, this.limits.salt ?? "", this.pools.length);
    for (const sequence of group.sequences) sequence.mask = request.allowed?.(sequence.choice, []) ?? null;
    this.residents.add(group);
  }

  /** Ends a request, or one choice of it, with `reason`. Pages go back when no step that is under way uses them. */
  cancel(request: Request, reason: "abort" | "stop", choice?: number): void {
    const group = this.residents.find(request);
    for (const sequence of [...(group?.sequences ?? [])]) {
      if (choice === undefined || sequence.choice === choice) this.finish(sequence, reason);
    }
  }

  /**
   * Forgets what is on the GPU, which is lost, and every step under way: whoever is not over is computed again, in his old
   * order, from what is known of him.
   */
  restart(): void {
    const lost = this.residents.restart();
    for (const { pages } of this.pools) pages.forget();
    this.readUnderWay = false;
    const over = lost.flatMap((g) => g.sequences.filter((s) => s.finished));
    for (const sequence of over) this.settle(sequence);
  }

  /** Ends everything with an error: the device is gone. */
  fail(error: Error): void {
    const groups = this.residents.clear();
    for (const sequence of groups.flatMap((g) => g.sequences.splice(0))) {
      sequence.finished ??= "abort";
      this.residents.vacate(sequence);
    }
    for (const { request } of groups) request.listener.onError(error);
  }

  /** The next step, or null when there is nothing to compute before results come back. */
  plan(): Step | null {
    this.residents.admit();
    // A step has one kind of head: readers and generators take turns.
    const [first, second] = this.lastWasRead ? [false, true] : [true, false];
    return this.planKind(first) ?? this.planKind(second);
  }

  private planKind(read: boolean): Step | null {
    const step = read ? this.planRead() : this.planGenerate();
    if (step) this.lastWasRead = read;
    return step;
  }

  /**
   * Takes a step's results: token ids where it drew, with what `logprobsOf` gives of each where it was asked for, else f32
   * values by row. Returns how many tokens were given out.
   */
  commit(
    step: Step,
    tokens: Uint32Array | null,
    values: Float32Array | null,
    logprobsOf?: (sample: number, count: number) => Logprobs,
  ): number {
    let given = 0;
    step.sampled.forEach((sequence, i) => {
      if (!tokens || sequence.finished) return;
      const { task } = sequence.group.request;
      const wanted = task.kind === "generate" ? task.sampling.logprobs : null;
      const logprobs = wanted === null ? undefined : logprobsOf?.(i, wanted);
      if (this.receive(sequence, tokens[i]!, logprobs)) given++;
    });
    if (readsBack(step)) this.readUnderWay = false;
    const reader = step.sequences[0];
    if (step.head === "logits" || step.head === "score") {
      invariant(reader && values, "a reading step has a reader and values");
      if (!reader.finished && values.length > 0) reader.group.request.listener.onRows?.(values);
      reader.readFrom += step.batch.samples.length;
    }
    if (step.transfer && values && reader && !reader.finished) {
      const { place, pages } = step.transfer;
      const present = pages.map((page) => page !== undefined);
      reader.group.request.listener.onPage?.(place, new Uint8Array(values.buffer as ArrayBuffer), present);
    }
    for (const sequence of step.sequences) {
      sequence.inFlight--;
      const reads = sequence.group.request.task.kind !== "generate";
      const left = sequence.finished || sequence.prefilling || this.transfers.isDue(sequence);
      if (reads && !left && sequence.inFlight === 0) this.finish(sequence, "stop");
      else this.settle(sequence);
    }
    return given;
  }

  private receive(sequence: Sequence, token: number, logprobs?: Logprobs): boolean {
    const { request } = sequence.group;
    const { task, listener, endIds } = request;
    invariant(task.kind === "generate", "only generations receive tokens");
    if (token === NO_TOKEN) {
      listener.onError(new GpuError("The model's logits are not finite numbers; no token can be drawn from them."));
      this.cancel(request, "abort");
      return false;
    }
    if (endIds.has(token)) {
      this.finish(sequence, "stop");
      return false;
    }
    sequence.received.push(token);
    this.paging.index(sequence);
    listener.onToken?.(sequence.choice, token, logprobs); // may cancel: a stop string
    if (!sequence.finished && sequence.received.length === task.maxTokens) this.finish(sequence, "length");
    if (!sequence.finished) this.maskNext(sequence);
    return true;
  }

  private maskNext(sequence: Sequence): void {
    const { request } = sequence.group;
    try {
      sequence.mask = request.allowed?.(sequence.choice, sequence.received) ?? null;
    } catch (error) {
      request.listener.onError(error as Error);
      this.cancel(request, "abort");
    }
  }

  private finish(sequence: Sequence, reason: "stop" | "length" | "abort"): void {
    if (sequence.finished) return;
    const { group } = sequence;
    // Another one will prefill, from the start, and the others fork from that.
    if (!group.forked && group.leader === sequence) for (const other of group.sequences) other.placed = false;
    sequence.finished = reason;
    group.request.listener.onFinish?.(sequence.choice, reason);
    this.settle(sequence);
  }

  /** Lets go of a sequence that is over, or of a group that was preempted, once nothing under way touches them. */
  private settle(sequence: Sequence): void {
    const { group } = sequence;
    if (sequence.finished) {
      const at = group.sequences.indexOf(sequence);
      if (sequence.inFlight > 0 || at < 0) return;
      group.sequences.splice(at, 1);
      this.residents.vacate(sequence);
      if (group.sequences.length === 0) {
        this.residents.remove(group);
        return group.request.listener.onDone();
      }
    }
    this.residents.settle(group);
  }

  /** Pages for the first `entries` entries; false if there are none now. */
  private grow(sequence: Sequence, entries: number): boolean {
    this.paging.trim(sequence);
    const pages = this.residents.obtain(this.paging.missing(sequence, entries), sequence.group);
    pages?.forEach((list, k) => sequence.tables[k]!.pages.push(...list));
    return pages !== null;
  }

  private planGenerate(): Step | null {
    const generators = this.residents.groups.filter((g) => g.request.task.kind === "generate");
    const runnable = generators.flatMap((g) => g.sequences.filter((s) => s.runnable));
    const prompts = runnable.filter((s) => s.prefilling);
    const draft = new Draft();
    for (const sequence of runnable) {
      if (sequence.prefilling) continue;
      // A prompt that comes before this sequence gets a row at least.
      const spared = prompts[0] && before(prompts[0].group, sequence.group) ? 1 : 0;
      if (draft.rows + spared >= this.limits.rows) break;
      if (!sequence.runnable || !this.grow(sequence, sequence.scheduled + 1)) continue; // it may have been preempted
      draft.segment(sequence, null);
      draft.draw(sequence);
      this.counters.decodeRows++;
    }
    for (const sequence of prompts) {
      if (draft.rows === this.limits.rows) break;
      if (sequence.runnable && !this.planPrompt(sequence, draft)) break;
    }
    return draft.rows > 0 ? draft.finish(draft.samples.length > 0 ? "sample" : "none") : null;
  }

  /** As much of a prompt as the step still holds; at its end the draw, for the forks as well. False without pages. */
  private planPrompt(sequence: Sequence, draft: Draft): boolean {
    const { group } = sequence;
    if (!sequence.placed) this.paging.adopt(sequence);
    const from = sequence.scheduled;
    const to = Math.min(sequence.prefillEnd, from + this.limits.rows - draft.rows);
    const ends = to === sequence.prefillEnd;
    const forks = ends && !group.forked ? group.sequences.filter((s) => s !== sequence && !s.finished) : [];
    const partial = to % this.limits.pageSize > 0;
    this.paging.trim(sequence);
    const missing = this.paging.missing(sequence, to);
    const copies = partial ? forks.length : 0;
    const pages = this.residents.obtain(
      missing.map((count) => count + copies),
      group,
    );
    if (!pages) return false;
    pages.forEach((list, k) => sequence.tables[k]!.pages.push(...list.splice(0, missing[k])));
    this.place(sequence, draft);
    draft.segment(sequence, sequence.tokens(from, to));
    this.counters.prefillRows += to - from;
    this.paging.index(sequence);
    if (!ends) return true;
    draft.draw(sequence);
    for (const [i, child] of forks.entries()) {
      const own = partial ? pages.map((list) => list[i]!) : [];
      this.paging.fork(sequence, child, own);
      draft.copy(sequence, own);
      draft.draw(child);
    }
    group.forked = true;
    return true;
  }

  /** The GPU hears of a sequence that begins, and of those that will fork from it. */
  private place(sequence: Sequence, draft: Draft): void {
    if (sequence.placed) return;
    const { group, hit } = sequence;
    this.counters.hitTokens += hit;
    draft.place(sequence, hit);
    if (group.forked) return;
    for (const child of group.sequences) {
      if (child !== sequence && !child.finished) draft.place(child, group.ids.length);
    }
  }

  private planRead(): Step | null {
    for (const { request, sequences } of this.residents.groups) {
      const sequence = sequences[0]!;
      const { kind } = request.task;
      if (kind === "generate" || !sequence.resident) continue;
      const moves = !sequence.prefilling && this.transfers.isDue(sequence);
      const waits = this.readUnderWay && (kind === "logits" || (moves && kind === "save"));
      if (waits || !(moves || sequence.runnable)) continue;
      const step = moves ? this.transfers.plan(sequence) : this.planRows(sequence);
      if (!step) continue;
      if (readsBack(step)) this.readUnderWay = true;
      return step;
    }
    return null;
  }

  private planRows(sequence: Sequence): Step | null {
    const { task } = sequence.group.request;
    invariant(task.kind !== "generate", "a reader reads");
    if (!sequence.placed) this.paging.adopt(sequence);
    const from = sequence.scheduled;
    const most = task.kind === "save" ? this.limits.rows : this.limits.readRows;
    const to = Math.min(sequence.prefillEnd, from + most);
    if (!this.grow(sequence, to)) return null;
    const draft = new Draft();
    this.place(sequence, draft);
    draft.segment(sequence, sequence.tokens(from, to));
    this.counters.prefillRows += to - from;
    this.paging.index(sequence);
    if (task.kind === "save" || task.kind === "restore") return draft.finish("none");
    const { ids } = sequence.group;
    for (let row = Math.max(sequence.readFrom, from); row < to; row++) {
      const token = task.kind === "score" ? { token: ids[row + 1]! } : undefined;
      draft.samples.push({ row: row - from, slot: sequence.slot, ...token });
    }
    const head = draft.samples.length > 0 ? task.kind : "none";
    return draft.finish(head);
  }
}
