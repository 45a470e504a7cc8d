import type { BatchPlan } from "../kernels/batch.ts";
import { needsProcessors, type Sampling } from "./sampling.ts";
import type { Request, Sequence } from "./sequence.ts";

/** What the GPU must know of a slot before its first step. */
export interface SlotSetup {
  readonly slot: number;
  /** Entries that are in the cache already: those of a prefix hit; a fork starts at its parent's prompt. */
  readonly length: number;
  /** Draws made already: more than none for a sequence that was preempted, or that goes on with an earlier one's draws. */
  readonly counter: number;
  /** The rotary regime of its request. */
  readonly regime: number;
  /** How it draws; absent for readers. */
  readonly sampling?: Sampling;
  /** What it has seen counts for penalties. */
  readonly sequence: Sequence;
}

/** New entries of a slot's page table, from entry `at` on. */
export interface Growth {
  readonly slot: number;
  /** Pool of the pages, each of which has a table. */
  readonly pool: number;
  readonly at: number;
  readonly pages: readonly number[];
}

/** One place of a session's pages, on its way out of the cache or, with bytes, into it. */
export interface Transfer {
  readonly place: number;
  /** The page of each pool that has one there. */
  readonly pages: readonly (number | undefined)[];
  readonly bytes?: Uint8Array<ArrayBuffer>;
}

/** One step: what to run, and what its results mean. */
export interface Step {
  /**
   * "process": a draw with penalties, bias, filters or log-probabilities for some of the samples; "pages": no rows, a
   * transfer.
   */
  readonly head: "sample" | "process" | "logits" | "score" | "none" | "pages";
  readonly transfer?: Transfer;
  readonly batch: BatchPlan;
  readonly rows: number;
  /** Entries of the longest of its sequences, this step's among them. */
  readonly longest: number;
  /** Tokens that slots may draw, a bit each, to be written before this step: those of the samples that are masked. */
  readonly masks: readonly { readonly slot: number; readonly words: Uint32Array<ArrayBuffer> }[];
  /** Slots to set up, and page tables to extend, before this step. */
  readonly setups: readonly SlotSetup[];
  readonly growths: readonly Growth[];
  readonly sequences: readonly Sequence[];
  /** For each sample of a sampling step, whose it is. */
  readonly sampled: readonly Sequence[];
}

/** A step as it is put together. A sequence that joins it is under way from then on. */
export class Draft {
  rows = 0;
  readonly samples: BatchPlan["samples"] = [];
  /** By pool, pages to copy when the rows are computed: what a fork writes to next is its own. At most one for each slot. */
  private readonly copies: { from: number; to: number }[][] = [];
  private readonly segments: BatchPlan["segments"] = [];
  private readonly masks: Step["masks"][number][] = [];
  private readonly setups: SlotSetup[] = [];
  private readonly sequences: Sequence[] = [];
  private readonly sampled: Sequence[] = [];

  /** Rows of known tokens, or one row of the token drawn last. */
  segment(sequence: Sequence, tokens: readonly number[] | null): void {
    this.join(sequence);
    this.segments.push({ slot: sequence.slot, tokens });
    const count = tokens?.length ?? 1;
    sequence.scheduled += count;
    this.rows += count;
  }

  /** A draw from the last row so far. */
  draw(sequence: Sequence): void {
    this.join(sequence);
    const { slot, mask } = sequence;
    this.samples.push({ row: this.rows - 1, slot, ...(mask && { masked: true }) });
    if (mask) this.masks.push({ slot, words: mask });
    this.sampled.push(sequence);
    sequence.drawn++;
  }

  /** A fork's copies of the pages that its parent has filled in part, one of each pool. */
  copy(parent: Sequence, own: readonly number[]): void {
    own.forEach((to, pool) => {
      (this.copies[pool] ??= []).push({ from: parent.tables[pool]!.pages.at(-1)!, to });
    });
  }

  /** The slot's state, to be written before this step. */
  place(sequence: Sequence, length: number): void {
    const { slot, choice, group, received } = sequence;
    const { task, regime = 0 } = group.request;
    // Each choice of a request draws from a seed of its own.
    const sampling = task.kind === "generate" && { ...task.sampling, seed: (task.sampling.seed + choice) >>> 0 };
    const drawn = sampling ? sampling.drawn : 0;
    const drawing = sampling && { sampling };
    this.setups.push({ slot, length, counter: drawn + received.length, regime, ...drawing, sequence });
    sequence.placed = true;
  }

  /** A step of no rows that moves a session's pages at a place. */
  move(sequence: Sequence, place: number, bytes?: Uint8Array<ArrayBuffer>): Step {
    this.join(sequence);
    const pages = sequence.tables.map((table) => table.at(place));
    return { ...this.finish("pages"), transfer: { place, pages, ...(bytes && { bytes }) } };
  }

  finish(head: Step["head"]): Step {
    const { segments, samples, rows, masks, setups, sequences, sampled } = this;
    const [copies = [], windowCopies = []] = this.copies;
    const growths: Growth[] = [];
    for (const { slot, tables } of sequences) {
      tables.forEach((table, pool) => {
        const at = Math.max(table.first, table.tabled);
        if (at < table.end) growths.push({ slot, pool, at, pages: table.pages.slice(at - table.first) });
        table.tabled = table.end;
      });
    }
    const longest = sequences.reduce((most, { scheduled }) => Math.max(most, scheduled), 0);
    const processed = head === "sample" && sampled.some(({ group: { request } }) => drawsWithProcessors(request));
    return {
      head: processed ? "process" : head,
      batch: { segments, samples, copies, windowCopies },
      rows,
      longest,
      masks,
      setups,
      growths,
      sequences,
      sampled,
    };
  }

  private join(sequence: Sequence): void {
    if (this.sequences.includes(sequence)) return;
    this.sequences.push(sequence);
    sequence.inFlight++;
  }
}

function drawsWithProcessors({ task }: Request): boolean {
  return task.kind === "generate" && needsProcessors(task.sampling);
}
