import type { Paging } from "./paging.ts";
import { before, type Group, type Request, type Sequence } from "./sequence.ts";

/**
 * Who waits, who has slots and pages, and who gives them back for whom. Order is by priority, then first come, first served;
 * nobody overtakes a request that waits for room. Where pages run out the last in order is preempted: it drains, gives
 * everything back, and waits in its old place until there is room to compute its known tokens again. So the first in order
 * always goes on.
 */
export class Residents {
  readonly groups: Group[] = [];
  readonly waiting: Group[] = [];
  preemptions = 0;
  private readonly freeSlots: number[];
  /** Who found no room, and the pool's state then: until that changes there is no need to look again. */
  private blocked: { group: Group; changes: number } | undefined;

  constructor(
    private readonly limits: { readonly rows: number; readonly slots: number },
    private readonly paging: Paging,
  ) {
    this.freeSlots = Array.from({ length: limits.slots }, (_, i) => limits.slots - 1 - i);
  }

  add(group: Group): void {
    insert(this.waiting, group);
  }

  find(request: Request): Group | undefined {
    return [...this.waiting, ...this.groups].find((group) => group.request === request);
  }

  /** Its last sequence is gone. */
  remove(group: Group): void {
    remove(this.waiting, group);
    remove(this.groups, group);
  }

  /** Everybody, who are nobody's any more. */
  clear(): Group[] {
    return [...this.waiting.splice(0), ...this.groups.splice(0)];
  }

  /** Those first in order become resident, while there is room and rows for them in the next step. */
  admit(): void {
    for (let next = this.waiting[0]; next; next = this.waiting[0]) {
      if (next.request.task.kind === "generate" && this.rowsBefore(next) >= this.limits.rows) return;
      if (this.fits(next)) {
        this.waiting.shift();
        for (const sequence of next.sequences) sequence.slot = this.freeSlots.pop()!;
        insert(this.groups, next);
        continue;
      }
      // Who has priority does not wait for those below to end.
      const last = this.groups.at(-1);
      if (!last || last.priority >= next.priority || this.returning) return;
      this.preempt(last);
    }
  }

  /** Pages for one of a group's sequences, if need be those of groups after it: at once if they have nothing under way. */
  obtain(counts: readonly number[], group: Group): number[][] | null {
    for (;;) {
      const pages = this.paging.allocate(counts);
      const last = this.groups.at(-1)!;
      if (pages || this.returning || last === group) return pages;
      this.preempt(last);
    }
  }

  /** A sequence's slot and pages come back. */
  vacate(sequence: Sequence): void {
    if (sequence.slot < 0) return;
    this.freeSlots.push(sequence.slot);
    this.paging.vacate(sequence);
    sequence.reset();
  }

  /** A group that is to go, gone once nothing under way touches it. */
  settle(group: Group): void {
    if (group.draining && !group.inFlight) this.requeue(group);
  }

  /** Off the GPU and back to its place among those who wait, to be computed again. */
  requeue(group: Group): void {
    for (const sequence of group.sequences) this.vacate(sequence);
    group.draining = false;
    remove(this.groups, group);
    insert(this.waiting, group);
  }

  /** Everything that was on the GPU is lost: everybody waits. */
  restart(): Group[] {
    const lost = [...this.groups];
    for (const group of lost) {
      for (const sequence of group.sequences) sequence.inFlight = 0;
      this.requeue(group);
      // The end of its prompt was still under way: it forks there again, as its pages were counted.
      if (group.sequences.every((s) => s.received.length === 0)) group.forked = group.request.n === 1;
    }
    this.blocked = undefined;
    return lost;
  }

  private preempt(group: Group): void {
    this.preemptions++;
    group.draining = true;
    this.settle(group);
  }

  /** Pages are on their way back: of sequences that are over, and of preempted groups. */
  private get returning(): boolean {
    return this.groups.some((g) => g.draining || g.sequences.some((s) => s.finished));
  }

  /** Rows that residents before `group` want of the next step. Past the step's rows there is no point in admitting it. */
  private rowsBefore(group: Group): number {
    let rows = 0;
    for (const resident of this.groups) {
      if (resident.request.task.kind !== "generate" || !before(resident, group)) continue;
      for (const s of resident.sequences) if (s.runnable) rows += s.prefilling ? s.prefillEnd - s.scheduled : 1;
    }
    return rows;
  }

  /** There are slots and pages for what is known of the group, and a page more for each sequence that runs. */
  private fits(group: Group): boolean {
    if (group.sequences.length > this.freeSlots.length) return false;
    const { paging } = this;
    const owed = paging.owed(group);
    if (this.groups.length === 0) return paging.has(owed);
    if (this.blocked?.group === group && this.blocked.changes === paging.changes) return false;
    const residents = this.groups.map((g) => paging.owed(g).map((pages) => pages + g.sequences.length));
    const shared = paging.sharedWithOthers(group);
    const fits = paging.has(owed.map((pages, k) => pages - shared[k]! + residents.reduce((n, r) => n + r[k]!, 0)));
    if (!fits) this.blocked = { group, changes: paging.changes };
    return fits;
  }
}

/** Puts a group into its place in order. */
function insert(groups: Group[], group: Group): void {
  const at = groups.findIndex((g) => before(group, g));
  groups.splice(at < 0 ? groups.length : at, 0, group);
}

function remove(groups: Group[], group: Group): void {
  const at = groups.indexOf(group);
  if (at >= 0) groups.splice(at, 1);
}
