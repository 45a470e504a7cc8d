import type { BatchPlan } from "../kernels/batch.ts";
import { needsProcessors, type Sampling } from "./sampling.ts";
import type { Request, Sequence } from "./sequence.ts";

/** What the GPU must know of a slot before its first step. */
export interface SlotSetup {
  readonly slot: number;
  /** Entries that are in the cache already: those of a prefix hit; a fork starts at its parent's prompt. */
  readonly length: number;
  /** Draws made already: more than none for a sequence that was preempted. */
  readonly counter: number;
  /** How it draws; absent for readers. */
  readonly sampling?: Sampling;
  /** What it has seen counts for penalties. */
  readonly sequence: Sequence;
}

/** New entries of a slot's page table, from entry `at` on. */
export interface Growth {
  readonly slot: number;
  readonly at: number;
  readonly pages: readonly number[];
}

/** One step: what to run, and what its results mean. */
export interface Step {
  /** "process": a draw with penalties, bias, filters or log-probabilities for some of the samples. */
  readonly head: "sample" | "process" | "logits" | "score" | "none";
  readonly batch: BatchPlan;
  readonly rows: number;
  /** Entries of the longest of its sequences, this step's among them. */
  readonly longest: number;
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
  /** Pages to copy when the rows are computed: what a fork writes to next is its own. At most one for each slot. */
  readonly copies: BatchPlan["copies"] = [];
  private readonly segments: BatchPlan["segments"] = [];
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
    this.samples.push({ row: this.rows - 1, slot: sequence.slot });
    this.sampled.push(sequence);
    sequence.drawn++;
  }

  /** The slot's state, to be written before this step. */
  place(sequence: Sequence, length: number): void {
    const { slot, choice, group, received } = sequence;
    const { task } = group.request;
    // Each choice of a request draws from a seed of its own.
    const sampling = task.kind === "generate" && { ...task.sampling, seed: (task.sampling.seed + choice) >>> 0 };
    this.setups.push({ slot, length, counter: received.length, ...(sampling && { sampling }), sequence });
    sequence.placed = true;
  }

  finish(head: Step["head"]): Step {
    const { segments, samples, copies, rows, setups, sequences, sampled } = this;
    const growths: Growth[] = [];
    for (const sequence of sequences) {
      const { slot, pages, tabled: at } = sequence;
      if (at < pages.length) growths.push({ slot, at, pages: pages.slice(at) });
      sequence.tabled = pages.length;
    }
    const longest = sequences.reduce((most, { scheduled }) => Math.max(most, scheduled), 0);
    const processed = head === "sample" && sampled.some(({ group: { request } }) => drawsWithProcessors(request));
    return {
      head: processed ? "process" : head,
      batch: { segments, samples, copies },
      rows,
      longest,
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
