import type { Paging } from "./paging.ts";
import type { Request, Sequence } from "./sequence.ts";
import { Draft, type Step } from "./step.ts";

/** Pages of each pool, from others if need be; null if there are none now. */
type Obtain = (counts: readonly number[], sequence: Sequence) => number[][] | null;

/**
 * Steps that move a session's pages, out of the cache when it is saved and into it when it is restored: one place of the
 * sequence a step, so that the bytes under way have a bound.
 */
export class Transfers {
  constructor(
    private readonly paging: Paging,
    private readonly pageSize: number,
    private readonly obtain: Obtain,
  ) {}

  /** Pages of a saved or restored session have not been moved yet. */
  isDue({ group, moved }: Sequence): boolean {
    const { kind } = group.request.task;
    if (kind !== "save" && kind !== "restore") return false;
    return moved < Math.ceil(group.ids.length / this.pageSize);
  }

  /** The next step of a sequence that is due; null if there are no pages for it now. */
  plan(sequence: Sequence): Step | null {
    const { task } = sequence.group.request;
    if (task.kind === "restore") return this.write(sequence, task);
    const place = Math.max(sequence.moved, Math.min(...sequence.tables.map((table) => table.first)));
    sequence.moved = place + 1;
    return new Draft().move(sequence, place);
  }

  private write(sequence: Sequence, task: Extract<Request["task"], { kind: "restore" }>): Step | null {
    if (!sequence.placed) {
      this.paging.adopt(sequence);
      sequence.moved = sequence.indexed;
    }
    this.paging.trim(sequence); // what a hit left, as far as it lies behind a window by now
    const place = Math.max(sequence.moved, Math.min(...task.firsts));
    const pages = this.obtain(
      task.firsts.map((first) => (first <= place ? 1 : 0)),
      sequence,
    );
    if (!pages) return null;
    sequence.placed = true;
    this.paging.put(sequence, place, pages);
    sequence.moved = place + 1;
    sequence.scheduled = sequence.moved * this.pageSize;
    // Steps run in order: whoever finds the page from now on reads it after it was written.
    this.paging.index(sequence);
    return new Draft().move(sequence, place, task.page(place));
  }
}

/** Whether a step's results take the room that there is for large ones, logits and pages. */
export function readsBack({ head, transfer }: Step): boolean {
  return head === "logits" || (transfer !== undefined && !transfer.bytes);
}
