import type { FinishReason } from "../../src/engine/port.ts";
import { firstKept } from "../../src/engine/paging.ts";
import { PrefixIndex, type ChainHash } from "../../src/engine/prefix.ts";
import { Scheduler } from "../../src/engine/scheduler.ts";
import { GREEDY } from "../../src/engine/sampling.ts";
import type { Request, Sequence, Task } from "../../src/engine/sequence.ts";
import type { Step } from "../../src/engine/step.ts";
import {
  check,
  drawOf,
  END,
  extend,
  FakeGpu,
  logitOf,
  scoreOf,
  startOf,
  WatchedPool,
  type FakePool,
} from "./fake-gpu.ts";

/** What a test asks for; a request is made of it. */
export interface Wish {
  ids: number[];
  kind: "generate" | "logits" | "score" | "save";
  maxTokens: number;
  temperature: number;
  seed: number;
  n: number;
  priority: number;
  stepwise: boolean;
  salt: string;
  regime: number;
  from: number;
}

export interface WorldOptions {
  pages: number;
  pageSize: number;
  rows: number;
  readRows: number;
  slots: number;
  /** Steps under way. */
  depth: number;
  seed: number;
  hash?: ChainHash;
  salt?: string;
  /** Entries that a row sees; all of them where absent. */
  window?: number;
  /** A second pool, of layers with a window. */
  second?: { pages: number; window: number };
}

export const ROOMY: WorldOptions = { pages: 200, pageSize: 4, rows: 16, readRows: 8, slots: 4, depth: 3, seed: 3 };

/** The plainest request. */
export const PLAIN: Wish = {
  ids: [0],
  kind: "generate",
  maxTokens: 4,
  temperature: 0,
  seed: 0,
  n: 1,
  priority: 0,
  stepwise: false,
  salt: "",
  regime: 0,
  from: 0,
};

/** A request and what its listener heard. */
export class Heard {
  readonly tokens: number[][];
  readonly finished: (FinishReason | undefined)[];
  readonly values: number[] = [];
  /** Pages of a session that is saved, by place: (token, context) of each entry, of the pools that are present. */
  readonly places = new Map<number, { words: Uint32Array; present: readonly boolean[] }>();
  readonly errors: Error[] = [];
  done = 0;
  cancelled = false;
  readonly request: Request;

  constructor(readonly wish: Wish) {
    this.tokens = Array.from({ length: Math.ceil(wish.n) }, () => []);
    this.finished = this.tokens.map(() => undefined);
    this.request = {
      ids: wish.ids,
      task: taskOf(wish),
      n: wish.n,
      endIds: new Set([END]),
      priority: wish.priority,
      stepwise: wish.stepwise,
      salt: wish.salt,
      regime: wish.regime,
      listener: {
        onToken: (choice, id) => this.tokens[choice]!.push(id),
        onFinish: (choice, reason) => {
          check(this.finished[choice] === undefined, "a choice ends twice");
          this.finished[choice] = reason;
        },
        onRows: (values) => this.values.push(...values),
        onPage: (place, bytes, present) =>
          this.places.set(place, { words: new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4), present }),
        onError: (error) => this.errors.push(error),
        onDone: () => this.done++,
      },
    };
  }
}

function taskOf({ kind, maxTokens, temperature, seed, ids, from }: Wish): Task {
  if (kind === "generate") return { kind, maxTokens, sampling: { ...GREEDY, temperature, seed } };
  if (kind === "save") return { kind };
  return kind === "logits" ? { kind, from: Math.min(from, ids.length - 1), to: ids.length } : { kind };
}

/** Scheduler and GPU, and a loop like Core's that a test turns by hand. */
export class World {
  readonly pool: WatchedPool;
  readonly pools: readonly FakePool[];
  readonly scheduler: Scheduler;
  readonly gpu: FakeGpu;
  readonly heard: Heard[] = [];
  private readonly sequences = new Set<Sequence>();
  private readonly results = new Map<Step, ReturnType<FakeGpu["run"]>>();

  constructor(readonly options: WorldOptions) {
    const { pages, seed, hash, window = Infinity, second } = options;
    this.pool = new WatchedPool(pages, seed, new PrefixIndex(hash));
    const more = second && new WatchedPool(second.pages, seed + 1, this.pool.prefix, 1);
    this.pools = [{ pages: this.pool, window }, ...(more ? [{ pages: more, window: second.window }] : [])];
    this.scheduler = new Scheduler(options, this.pools);
    this.gpu = new FakeGpu(this.pools, options.pageSize, options.slots);
  }

  /** Adds a request, unless it is refused as impossible. */
  add(wish: Wish): Heard | undefined {
    const heard = new Heard(wish);
    try {
      this.scheduler.check(heard.request);
    } catch {
      return undefined;
    }
    this.scheduler.add(heard.request);
    this.heard.push(heard);
    return heard;
  }

  /** Restores what another world's request has saved. */
  restore({ wish: { ids, regime }, places }: Heard): { done: number } | undefined {
    const { pageSize, slots, window = Infinity, second } = this.options;
    const whole = Math.floor(ids.length / pageSize);
    const firsts = [window, ...(second ? [second.window] : [])].map((w, k) => {
      const saved = [...places].filter(([, { present }]) => present[k]).map(([place]) => place);
      return Math.max(firstKept(whole * pageSize, w, pageSize), Math.min(...saved));
    });
    const page = (place: number): Uint8Array<ArrayBuffer> => {
      const { words, present } = places.get(place)!;
      const parts = firsts.flatMap((first, k) => {
        const at = 2 * pageSize * present.slice(0, k).filter(Boolean).length;
        return first <= place ? [...words.subarray(at, at + 2 * pageSize)] : [];
      });
      return new Uint8Array(Uint32Array.from(parts).buffer);
    };
    const heard = new Heard({ ...PLAIN, ids: ids.slice(0, whole * pageSize), regime, n: Math.min(1, slots) });
    if (whole === 0) return { done: 1 };
    const request: Request = { ...heard.request, task: { kind: "restore", firsts, page } };
    try {
      this.scheduler.check(request);
    } catch {
      return undefined; // more than the pool holds
    }
    this.scheduler.add(request);
    return heard;
  }

  /** @throws what the scheduler says of a request that could never be run */
  check(wish: Wish): void {
    this.scheduler.check(new Heard(wish).request);
  }

  cancel(which: number, choice?: number): void {
    const alive = this.heard.filter((h) => h.done === 0);
    const heard = alive[which % Math.max(1, alive.length)];
    if (!heard) return;
    heard.cancelled = true;
    this.scheduler.cancel(heard.request, "abort", choice);
  }

  /** Plans and submits a step, if there may be one more under way and there is something to do. */
  submit(): Step | null {
    const step = this.gpu.underWay.length < this.options.depth ? this.scheduler.plan() : null;
    if (!step) return null;
    check(step.rows <= Math.max(this.options.rows, this.options.readRows), "a step has too many rows");
    check(step.batch.segments.length <= this.options.slots, "a step has more segments than slots");
    this.results.set(step, this.gpu.run(step));
    for (const sequence of step.sequences) {
      this.sequences.add(sequence);
      const { task, ids } = sequence.group.request;
      const most = ids.length + (task.kind === "generate" ? task.maxTokens - 1 : 0);
      check(sequence.scheduled <= most, "rows are computed past the last token that is wanted");
    }
    this.checkBooks();
    return step;
  }

  /** Delivers the results of the oldest step. */
  deliver(): boolean {
    if (this.gpu.underWay.length === 0) return false;
    const step = this.gpu.finish();
    const { tokens, values } = this.results.get(step)!;
    this.results.delete(step);
    this.scheduler.commit(step, tokens, values);
    this.checkBooks();
    return true;
  }

  /** As Core does when the device is lost. */
  lose(): void {
    this.gpu.lose();
    this.results.clear();
    this.scheduler.restart();
    this.checkBooks();
    for (const { pages } of this.pools) {
      check(pages.used === 0 && pages.cached === 0, "pages of a device that is lost are still known");
    }
  }

  /** As Core does, until nothing is left; throws where it would wait for ever. */
  drain(): void {
    while (this.submit() ?? this.deliver());
    check(this.scheduler.idle, "requests are left and no step can be planned");
  }

  /** Sequences past their prompt with a token left to compute. */
  talking(): number {
    return [...this.sequences].filter((s) => s.runnable && !s.prefilling).length;
  }

  checkBooks(): void {
    for (const { pages } of this.pools) {
      const { available, used, cached, total, shared } = pages;
      check(available + used === total && cached <= available && shared <= used, "pages are lost or counted twice");
      check(
        [available, used, cached, shared].every((n) => n >= 0),
        "a count is negative",
      );
    }
  }

  /** Nothing is held any more, and a request for all slots and pages would run. */
  checkEmpty(): void {
    const { running, waiting } = this.scheduler.counts;
    check(running === 0 && waiting === 0, "somebody is left");
    for (const { pages } of this.pools) {
      check(pages.used === 0 && pages.shared === 0, "pages are left");
      pages.forget();
      check(pages.cached === 0, "pages are left in the cache");
    }
    check(this.pool.prefix.size === 0, "nodes are left in the index");
    for (const { pages } of this.pools) {
      check(new Set(pages.allocate(pages.total)).size === pages.total, "pages are lost");
    }
  }
}

/** What a request gives when nothing else exists: tokens of each choice, and values of the rows asked for. */
export function alone({ ids, kind, maxTokens, temperature, seed, n, regime, from }: Wish): {
  tokens: number[][];
  finished: FinishReason[];
  values: number[];
} {
  const contexts: number[] = [];
  for (const id of ids) contexts.push(extend(contexts.at(-1) ?? startOf(regime), id));
  if (kind === "logits") {
    return { tokens: [[]], finished: ["stop"], values: contexts.slice(Math.min(from, ids.length - 1)).map(logitOf) };
  }
  if (kind === "save") return { tokens: [[]], finished: ["stop"], values: [] };
  if (kind === "score") {
    const values = contexts.slice(0, -1).map((context, i) => scoreOf(context, ids[i + 1]!));
    return { tokens: [[]], finished: ["stop"], values };
  }
  const choices = Array.from({ length: n }, (_, choice) => {
    let context = contexts.at(-1)!;
    const tokens: number[] = [];
    while (tokens.length < maxTokens) {
      const token = drawOf(context, temperature, (seed + choice) >>> 0, tokens.length);
      if (token === END) return { tokens, finished: "stop" as const };
      tokens.push(token);
      context = extend(context, token);
    }
    return { tokens, finished: "length" as const };
  });
  return { tokens: choices.map((c) => c.tokens), finished: choices.map((c) => c.finished), values: [] };
}

/** What was read of a session's pages is what its ids make, from the first entry that a window leaves to the last. */
function checkPlaces(
  { wish: { ids, regime }, places }: Heard,
  { pageSize, window = Infinity, second }: WorldOptions,
): void {
  const contexts: number[] = [];
  for (const id of ids) contexts.push(extend(contexts.at(-1) ?? startOf(regime), id));
  const last = Math.ceil(ids.length / pageSize) - 1;
  [window, ...(second ? [second.window] : [])].forEach((sees, k) => {
    // What a request sees that goes on from the last full page.
    const boundary = Math.floor((ids.length - 1) / pageSize) * pageSize;
    const needed = Math.max(0, boundary + 1 - sees);
    for (let i = needed; i < ids.length; i++) {
      const { words, present } = places.get(Math.floor(i / pageSize))!;
      check(present[k], `entry ${i} of pool ${k} was not saved`);
      const at = 2 * (pageSize * present.slice(0, k).filter(Boolean).length + (i % pageSize));
      check(words[at] === ids[i] && words[at + 1] === contexts[i], `entry ${i} of pool ${k} was saved wrongly`);
    }
  });
  check(Math.max(...places.keys()) === last, "there are places past the last");
}

/** A request had what it would have had alone; one that was cancelled, the beginning of it. */
export function checkOutcome(heard: Heard, options?: WorldOptions): void {
  const expected = alone(heard.wish);
  const starts = (got: readonly number[], all: readonly number[]) => got.every((x, i) => x === all[i]);
  check(heard.done === 1 && heard.errors.length === 0, "a request did not end once, without an error");
  if (heard.wish.kind === "save" && options && !heard.cancelled) checkPlaces(heard, options);
  heard.tokens.forEach((tokens, choice) => {
    check(starts(tokens, expected.tokens[choice]!), `choice ${choice} has tokens that it would not have alone`);
    if (heard.finished[choice] === "abort") return check(heard.cancelled, "a choice was aborted by nobody");
    check(tokens.length === expected.tokens[choice]!.length, `choice ${choice} lacks tokens`);
    check(heard.finished[choice] === expected.finished[choice], `choice ${choice} ended for another reason`);
  });
  check(starts(heard.values, expected.values), "rows have values that they would not have alone");
  check(heard.cancelled || heard.values.length === expected.values.length, "rows are missing");
}
