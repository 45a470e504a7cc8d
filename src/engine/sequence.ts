import type { FinishReason, RowRange } from "./port.ts";

/** What a request wants of its rows: tokens, or the logits or log-probabilities of what it gave. */
export type Task =
  | { readonly kind: "generate"; readonly maxTokens: number; readonly temperature: number; readonly seed: number }
  /** Rows [from, to) of the logits. */
  | { readonly kind: "logits"; readonly from: number; readonly to: number }
  | { readonly kind: "score" };

/** Who is told. `onToken` sees ids in order, the end token never; `onRows` sees results of rows in order. */
export interface Listener {
  onToken?(choice: number, id: number): void;
  onFinish?(choice: number, reason: FinishReason): void;
  /** f32 results of consecutive rows: vocab values each for logits, one each for scores. */
  onRows?(values: Float32Array): void;
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
}

/** One sequence on the GPU: a slot, pages, and how far it has been computed. Owned by the scheduler. */
export class Sequence {
  /** Entries of the cache computed or under way. */
  scheduled = 0;
  /** Draws made or under way. */
  drawn = 0;
  /** Tokens the host has seen. */
  received = 0;
  /** Steps under way that this sequence is part of; its slot and pages stay until there are none. */
  inFlight = 0;
  finished: FinishReason | undefined;

  constructor(
    readonly group: Group,
    readonly choice: number,
    readonly slot: number,
    readonly pages: readonly number[],
  ) {}

  get prefilling(): boolean {
    return this.scheduled < this.group.request.ids.length;
  }

  /** There is a row to compute for this sequence in the next step. */
  get runnable(): boolean {
    if (this.finished) return false;
    if (this.prefilling) return this.choice === 0;
    const { task } = this.group.request;
    return task.kind === "generate" && this.drawn > 0 && this.drawn < task.maxTokens;
  }
}

/** The admitted sequences of one request. The first one prefills; the others fork from it at the prompt's end. */
export interface Group {
  readonly request: Request;
  readonly sequences: Sequence[];
}

/** Rows [from, to) of a RowRange over `count` rows. */
export function rowRange(rows: RowRange, count: number): { from: number; to: number } {
  if (rows === "last") return { from: count - 1, to: count };
  if (rows === "all") return { from: 0, to: count };
  return { from: rows[0], to: rows[1] };
}
