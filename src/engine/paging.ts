import type { PagePool } from "./pages.ts";
import type { Group, Request, Sequence } from "./sequence.ts";

/** The pages of sequences: how many they need, which they can share, and when others may share theirs. */
export class Paging {
  constructor(
    private readonly pool: PagePool,
    private readonly pageSize: number,
  ) {}

  /** Pages that a request takes at most, when nothing is shared but the prompt's full pages. */
  worstCase({ ids, task, n }: Request): number {
    // The last token drawn is never computed, so it takes no entry.
    const entries = ids.length + (task.kind === "generate" ? Math.max(0, task.maxTokens - 1) : 0);
    const whole = Math.max(1, Math.ceil(entries / this.pageSize));
    return whole + (n - 1) * (whole - Math.floor(ids.length / this.pageSize));
  }

  /** Pages that are missing for the first `entries` entries. */
  missing(sequence: Sequence, entries: number): number {
    return Math.max(0, Math.ceil(entries / this.pageSize) - sequence.pages.length);
  }

  /** Pages that a group will still ask for until all it knows is computed. */
  owed(group: Group): number {
    const prompt = Math.floor(group.ids.length / this.pageSize);
    let pages = 0;
    let first = true;
    for (const sequence of group.sequences) {
      if (sequence.finished) continue;
      const there = Math.max(sequence.pages.length, first ? 0 : prompt);
      pages += Math.max(0, Math.ceil(sequence.prefillEnd / this.pageSize) - there);
      first = false;
    }
    return pages;
  }

  /** Pages of a prefix hit that others hold, so that they take nothing of what is available. */
  sharedWithOthers(group: Group): number {
    const sequence = group.leader!;
    let { chain } = sequence;
    let held = 0;
    while (held < this.longestHit(sequence)) {
      const node = this.pool.prefix.find(chain, this.tokensOf(sequence, held));
      if (!node || !this.pool.isHeld(node.page)) break;
      chain = node;
      held++;
    }
    return held;
  }

  /**
   * A sequence that has not begun starts after whatever the index has of its tokens. Those pages may still be under way, even
   * in the step that is being planned: the GPU runs steps in order, and in each layer of a step all rows are written
   * to the cache before any row reads it.
   */
  adopt(sequence: Sequence): void {
    while (sequence.indexed < this.longestHit(sequence)) {
      const node = this.pool.prefix.find(sequence.chain, this.tokensOf(sequence, sequence.indexed));
      if (!node) break;
      this.pool.share([node.page]);
      sequence.pages.push(node.page);
      sequence.chain = node;
      sequence.indexed++;
    }
    sequence.scheduled = sequence.hit = sequence.indexed * this.pageSize;
  }

  /**
   * Lets others find the pages that are full of known tokens: those of prompts as soon as they are planned, those of
   * generated tokens when these have been received, so that nothing past an end is ever shared.
   */
  index(sequence: Sequence): void {
    const { prefix } = this.pool;
    const full = Math.floor(Math.min(sequence.scheduled, sequence.known) / this.pageSize);
    while (!sequence.chainBroken && sequence.indexed < full) {
      const ids = this.tokensOf(sequence, sequence.indexed);
      // Who holds a page holds those before it; so nothing may follow a page that another sequence has computed as well.
      sequence.chainBroken = prefix.find(sequence.chain, ids) !== undefined;
      if (sequence.chainBroken) return;
      sequence.chain = prefix.insert(sequence.chain, ids, sequence.pages[sequence.indexed]!);
      sequence.indexed++;
    }
  }

  /** The child starts where its parent is: full pages are shared, and `own` becomes a copy of one that is filled in part. */
  fork(parent: Sequence, child: Sequence, own: number | undefined): void {
    const full = Math.floor(parent.scheduled / this.pageSize);
    const shared = parent.pages.slice(0, full);
    this.pool.share(shared);
    child.pages.push(...shared, ...(own === undefined ? [] : [own]));
    child.scheduled = parent.scheduled;
    child.indexed = parent.indexed;
    child.chain = parent.chain;
    child.chainBroken = parent.chainBroken;
  }

  /** Pages that a prefix hit may have. */
  private longestHit(sequence: Sequence): number {
    return Math.floor(sequence.longestHit / this.pageSize);
  }

  private tokensOf(sequence: Sequence, page: number): number[] {
    return sequence.tokens(page * this.pageSize, (page + 1) * this.pageSize);
  }
}
