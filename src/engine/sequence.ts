import type { FinishReason, Logprobs, RowRange } from "./port.ts";
import { PageList } from "./page-list.ts";
import type { ChainEnd } from "./prefix.ts";
import type { Sampling } from "./sampling.ts";

/**
 * What a request wants: tokens, or the logits or log-probabilities of what it gave. Or its pages: all rows computed and then
 * read page by page, or full pages written as a saved session has them, with nothing computed.
 */
export type Task =
  | { readonly kind: "generate"; readonly maxTokens: number; readonly sampling: Sampling }
  /** Rows [from, to) of the logits. */
  | { readonly kind: "logits"; readonly from: number; readonly to: number }
  | { readonly kind: "score" }
  | { readonly kind: "save" }
  | {
      readonly kind: "restore";
      /** By pool, the place of the first page that there is something for; ids fill whole pages. */
      readonly firsts: readonly number[];
      /** What belongs in the pages at a place, as `onPage` gave it. */
      readonly page: (place: number) => Uint8Array<ArrayBuffer>;
    };

/** Who is told. `onToken` sees ids in order, the end token never; `onRows` sees results of rows in order. */
export interface Listener {
  onToken?(choice: number, id: number, logprobs?: Logprobs): void;
  onFinish?(choice: number, reason: FinishReason): void;
  /** f32 results of consecutive rows: vocab values each for logits, one each for scores. */
  onRows?(values: Float32Array): void;
  /** A session's pages at a place: those of the pools that have one there, as `PageBytes` lays them out. */
  onPage?(place: number, bytes: Uint8Array<ArrayBuffer>, present: readonly boolean[]): void;
  onError(error: Error): void;
  /** Everything of the request is over, and its pages are back. */
  onDone(): void;
}

/** One request: a prompt and `n` continuations of it. */
export interface Request {
  readonly ids: readonly number[];
  readonly task: Task;
  readonly n: number;
  readonly endIds: ReadonlySet<number>;
  readonly listener: Listener;
  /** Higher goes first; default 0. First come, first served among equals. */
  readonly priority?: number;
  /** The host has a say between two tokens (a mask made on the CPU): each is seen before the next step is planned. */
  readonly stepwise?: boolean;
  /**
   * The mask of a choice's next draw, a bit for each token, after what it has generated so far; null: all tokens. Only with
   * `stepwise`. What it throws ends the request.
   */
  allowed?(choice: number, generated: readonly number[]): Uint32Array<ArrayBuffer> | null;
  /** Shares pages only with requests of the same salt: an adapter, or a caller who wants privacy. */
  readonly salt?: string;
  /** The rotary regime that its longest possible length gives it (`Regimes`); default 0. Pages are of one regime. */
  readonly regime?: number;
}

/**
 * One continuation of a request. While it is resident it has a slot on the GPU, and pages; when it is preempted both go
 * back, and later its known tokens, those of the prompt and those received since, are computed again. Owned by the scheduler.
 */
export class Sequence {
  /** Slot on the GPU; −1 while it is not resident. */
  slot = -1;
  /** Its pages, by pool. */
  readonly tables: readonly PageList[];
  /** The GPU knows length, counter and sampling options of the slot. */
  placed = false;
  /** Entries of the cache that are there, computed or under way. */
  scheduled = 0;
  /** Entries that were there when it was placed: those of a prefix hit. */
  hit = 0;
  /** Draws made or under way. */
  drawn = 0;
  /** Tokens that the next draw may take; null: all. */
  mask: Uint32Array<ArrayBuffer> | null = null;
  /** Generated tokens that the host has seen, without the end token. */
  readonly received: number[] = [];
  /** Known tokens when it became resident: what prefill computes before the next draw. */
  prefillEnd: number;
  /** Readers: the first row whose result is still wanted. */
  readFrom: number;
  /** Full pages from the first on whose tokens the prefix index knows, and the last of them there, which it holds. */
  indexed = 0;
  chain: ChainEnd;
  /** Saved and restored sessions: place of the next page to read or write. */
  moved = 0;
  /** Steps under way that this sequence is part of; its slot and pages stay until there are none. */
  inFlight = 0;
  finished: FinishReason | undefined;

  constructor(
    readonly group: Group,
    readonly choice: number,
  ) {
    const { task } = group.request;
    this.prefillEnd = this.goal;
    this.readFrom = task.kind === "logits" ? task.from : 0;
    this.chain = group.salt;
    this.tables = Array.from({ length: group.pools }, () => new PageList());
  }

  /** Tokens that the host knows. */
  get known(): number {
    return this.group.ids.length + this.received.length;
  }

  /** Entries that what is known of it takes. */
  get entries(): number {
    return this.group.request.task.kind === "restore" ? this.known : this.prefillEnd;
  }

  /** Rows to prefill: all that is known; for readers, up to the last one asked for; none where pages are restored. */
  private get goal(): number {
    const { task } = this.group.request;
    if (task.kind === "generate" || task.kind === "save") return this.known;
    if (task.kind === "restore") return 0;
    return task.kind === "logits" ? task.to : this.group.ids.length - 1; // the last id has no next one to score
  }

  get prefilling(): boolean {
    return this.scheduled < this.prefillEnd;
  }

  /** It has its slot and may go on. */
  get resident(): boolean {
    return !this.finished && this.slot >= 0 && !this.group.draining;
  }

  /** There is a row to compute for this sequence in the next step. */
  get runnable(): boolean {
    const { group } = this;
    if (!this.resident) return false;
    if (this.prefilling) return group.forked || group.leader === this;
    const { task, stepwise } = group.request;
    if (task.kind !== "generate" || (stepwise && this.drawn > this.received.length)) return false;
    return this.drawn > 0 && this.drawn < task.maxTokens;
  }

  /** Known tokens [from, to), at most as many as there are. */
  tokens(from: number, to: number): number[] {
    const { ids } = this.group;
    if (to <= ids.length) return ids.slice(from, to);
    const rest = this.received.slice(Math.max(0, from - ids.length), to - ids.length);
    return from < ids.length ? [...ids.slice(from), ...rest] : rest;
  }

  /** Entries that a prefix hit may have: at least one row is computed, and every row whose result is wanted. */
  get longestHit(): number {
    const { kind } = this.group.request.task;
    if (kind === "restore") return this.known - 1;
    return kind === "generate" || kind === "save" ? this.prefillEnd - 1 : this.readFrom;
  }

  /** Off the GPU: to be computed again from what is known. Nothing of it may be under way, and its pages are back. */
  reset(): void {
    this.slot = -1;
    this.scheduled = this.hit = this.moved = 0;
    this.placed = false;
    this.drawn = this.received.length;
    this.prefillEnd = this.goal;
  }
}

/** The sequences of one request. One of them prefills the prompt; the others fork from it at the prompt's end. */
export class Group {
  /** Ours: a caller may change his own list, and the prefix index lives longer than he waits. */
  readonly ids: readonly number[];
  readonly salt: string;
  readonly priority: number;
  /** Those that are not over, and those over whose last steps are under way. */
  readonly sequences: Sequence[];
  /** The prompt is computed, and each sequence goes its own way. */
  forked: boolean;
  /** Preempted: no step is planned for it any more, and it goes back to the queue when those under way are over. */
  draining = false;

  constructor(
    readonly request: Request,
    /** Number of the request, in order of arrival. */
    readonly arrival: number,
    engineSalt: string,
    /** Pools that each sequence has pages of. */
    readonly pools = 1,
  ) {
    this.ids = [...request.ids];
    const { regime = 0 } = request;
    this.salt = `${engineSalt}${regime > 0 ? `#${regime}` : ""}/${request.salt ?? ""}`;
    this.priority = request.priority ?? 0;
    this.forked = request.n === 1;
    this.sequences = Array.from({ length: request.n }, (_, choice) => new Sequence(this, choice));
  }

  /** Who prefills the prompt for all. */
  get leader(): Sequence | undefined {
    return this.sequences.find((s) => !s.finished);
  }

  get inFlight(): boolean {
    return this.sequences.some((s) => s.inFlight > 0);
  }
}

/** Whose turn it is: higher priority first, then who came first. */
export function before(a: Group, b: Group): boolean {
  return a.priority !== b.priority ? a.priority > b.priority : a.arrival < b.arrival;
}

/** Rows [from, to) of a RowRange over `count` rows. */
export function rowRange(rows: RowRange, count: number): { from: number; to: number } {
  if (rows === "last") return { from: count - 1, to: count };
  if (rows === "all") return { from: 0, to: count };
  return { from: rows[0], to: rows[1] };
}
