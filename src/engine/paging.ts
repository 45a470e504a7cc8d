import type { PagePool } from "./pages.ts";
import type { PrefixNode } from "./prefix.ts";
import type { Group, Request, Sequence } from "./sequence.ts";

/** Pages of the layers that see equally far. */
export interface CachePool {
  readonly pages: PagePool;
  /** Entries that a row of its layers sees, its own among them; Infinity: all. Pages that lie behind are let go. */
  readonly window: number;
}

/** A number for each pool. */
type Counts = readonly number[];

/** Place of the first page that a row at `entry` sees through a window. */
export function firstSeen(entry: number, window: number, pageSize: number): number {
  return Math.floor(Math.max(0, entry + 1 - window) / pageSize);
}

/**
 * Place of the first page that a sequence of so many entries keeps: what follows sees no earlier one, and neither would a
 * request that goes on from its last full page.
 */
export function firstKept(entries: number, window: number, pageSize: number): number {
  const boundary = Math.floor(Math.max(0, entries - 1) / pageSize) * pageSize;
  return firstSeen(boundary, window, pageSize);
}

/** Pages that a sequence holds at most behind a window, when steps have so many rows: window and chunk, and a page for each end. */
export function windowPages(window: number, rows: number, pageSize: number): number {
  return Math.ceil((window - 1) / pageSize) + Math.ceil(rows / pageSize) + 1;
}

/** The pages of sequences: how many they need of each pool, which they can share, and when others may share theirs. */
export class Paging {
  /** Pages of a pool that one sequence holds at most. */
  private readonly most: Counts;

  constructor(
    readonly pools: readonly CachePool[],
    private readonly pageSize: number,
    /** Rows of one step at most. */
    rows: number,
  ) {
    this.most = pools.map(({ window }) => (window < Infinity ? windowPages(window, rows, pageSize) : Infinity));
  }

  /** Pages that a request takes at most, when nothing is shared but the prompt's full pages. */
  worstCase({ ids, task, n }: Request): Counts {
    // The last token drawn is never computed, so it takes no entry.
    const entries = ids.length + (task.kind === "generate" ? Math.max(0, task.maxTokens - 1) : 0);
    const whole = Math.max(1, Math.ceil(entries / this.pageSize));
    const shared = whole + (n - 1) * (whole - Math.floor(ids.length / this.pageSize));
    return this.most.map((most) => Math.min(shared, n * Math.min(whole, most)));
  }

  /** Pages that are missing for the first `entries` entries. */
  missing(sequence: Sequence, entries: number): Counts {
    const places = Math.ceil(entries / this.pageSize);
    return sequence.tables.map((table) => Math.max(0, places - table.end));
  }

  /** So many new pages of each pool, or null, and then nothing has changed. */
  allocate(counts: Counts): number[][] | null {
    if (this.pools.some(({ pages }, k) => pages.available < counts[k]!)) return null;
    return this.pools.map(({ pages }, k) => pages.allocate(counts[k]!)!);
  }

  /** Whether there are so many pages of each pool. */
  has(counts: Counts): boolean {
    return this.pools.every(({ pages }, k) => counts[k]! <= pages.available);
  }

  /** Grows whenever pages of some pool may have become available. */
  get changes(): number {
    return this.pools.reduce((n, { pages }) => n + pages.changes, 0);
  }

  /** Pages that a group will still ask for until all it knows is there. */
  owed(group: Group): Counts {
    const prompt = Math.floor(group.ids.length / this.pageSize);
    return this.most.map((most, k) => {
      let owed = 0;
      let first = true;
      for (const { tables, entries, finished } of group.sequences) {
        if (finished) continue;
        const { end, pages } = tables[k]!;
        const ahead = Math.max(0, Math.ceil(entries / this.pageSize) - Math.max(end, first ? 0 : prompt));
        owed += Math.max(0, Math.min(ahead, most - pages.length));
        first = false;
      }
      return owed;
    });
  }

  /** Pages of a prefix hit that others hold, so that they take nothing of what is available. */
  sharedWithOthers(group: Group): Counts {
    const nodes = this.hitOf(group.leader!);
    return this.pools.map(({ pages, window }, k) => {
      const tail = nodes.slice(firstSeen(nodes.length * this.pageSize, window, this.pageSize));
      return tail.filter((node) => pages.isHeld(node.pages[k]!)).length;
    });
  }

  /**
   * A sequence that has not begun starts after whatever the index has of its tokens. Those pages may still be under way, even
   * in the step that is being planned: the GPU runs steps in order, and in each layer of a step all rows are written
   * to the cache before any row reads it.
   */
  adopt(sequence: Sequence): void {
    this.vacate(sequence);
    const nodes = this.hitOf(sequence);
    const entries = nodes.length * this.pageSize;
    this.pools.forEach(({ pages, window }, k) => {
      const table = sequence.tables[k]!;
      table.first = firstSeen(entries, window, this.pageSize);
      table.pages.push(...nodes.slice(table.first).map((node) => node.pages[k]!));
      pages.share(table.pages);
    });
    const last = nodes.at(-1);
    if (last) this.moveChain(sequence, last);
    sequence.indexed = nodes.length;
    sequence.scheduled = sequence.hit = entries;
  }

  /**
   * Lets others find the pages that are full of known tokens: those of prompts as soon as they are planned, those of
   * generated tokens when these have been received, so that nothing past an end is ever shared.
   */
  index(sequence: Sequence): void {
    const full = Math.floor(Math.min(sequence.scheduled, sequence.known) / this.pageSize);
    for (; sequence.indexed < full; sequence.indexed++) {
      const node = this.prefix.extend(sequence.chain, this.tokensOf(sequence, sequence.indexed));
      sequence.chain = node;
      this.pools.forEach(({ pages }, k) => {
        const page = sequence.tables[k]!.at(sequence.indexed);
        // Another sequence may have computed the same; and a page may be behind its window already.
        if (page !== undefined && node.pages[k] === undefined) pages.label(page, node);
      });
    }
  }

  /** The child starts where its parent is: full pages are shared, and `own` are its copies of those that are filled in part. */
  fork(parent: Sequence, child: Sequence, own: readonly (number | undefined)[]): void {
    const full = Math.floor(parent.scheduled / this.pageSize);
    this.pools.forEach(({ pages }, k) => {
      const from = parent.tables[k]!;
      const to = child.tables[k]!;
      const shared = from.pages.slice(0, full - from.first);
      pages.share(shared);
      to.first = from.first;
      to.pages.push(...shared, ...(own[k] === undefined ? [] : [own[k]]));
    });
    child.scheduled = parent.scheduled;
    child.indexed = parent.indexed;
    this.moveChain(child, parent.chain);
  }

  /** Lets go of what lies behind the windows of every row to come. Rows under way read it before anybody writes to it. */
  trim(sequence: Sequence): void {
    this.pools.forEach(({ pages, window }, k) => {
      if (window === Infinity) return;
      const behind = sequence.tables[k]!.dropTo(firstKept(sequence.scheduled, window, this.pageSize));
      if (behind.length > 0) pages.release(behind);
    });
  }

  /** Puts restored pages at a place. A table has no gaps: what a prefix hit left before one goes back. */
  put(sequence: Sequence, place: number, given: readonly (readonly number[])[]): void {
    given.forEach((list, k) => {
      const table = sequence.tables[k]!;
      if (list.length > 0 && table.end < place) {
        this.pools[k]!.pages.release(table.dropTo(place));
        table.first = place;
      }
      table.pages.push(...list);
    });
  }

  /** Gives everything back. */
  vacate(sequence: Sequence): void {
    this.pools.forEach(({ pages }, k) => {
      pages.release(sequence.tables[k]!.pages);
      sequence.tables[k]!.clear();
    });
    this.moveChain(sequence, sequence.group.salt);
    sequence.indexed = 0;
  }

  private get prefix() {
    return this.pools[0]!.pages.prefix;
  }

  private moveChain(sequence: Sequence, end: Sequence["chain"]): void {
    this.prefix.hold(end);
    this.prefix.release(sequence.chain);
    sequence.chain = end;
  }

  /**
   * The longest run of known pages that a sequence can start after: of a pool without a window all of them are there, of one
   * with a window those that the next row sees.
   */
  private hitOf(sequence: Sequence): PrefixNode[] {
    const nodes: PrefixNode[] = [];
    const most = this.longestHit(sequence);
    while (nodes.length < most) {
      const node = this.prefix.find(nodes.at(-1) ?? sequence.group.salt, this.tokensOf(sequence, nodes.length));
      if (!node) break;
      nodes.push(node);
    }
    const fits = this.pools.map(({ window }, k) => {
      const gaps = nodes.flatMap((node, i) => (node.pages[k] === undefined ? [i] : []));
      return (length: number): boolean => {
        const last = gaps.findLast((gap) => gap < length) ?? -1;
        return last < firstSeen(length * this.pageSize, window, this.pageSize);
      };
    });
    while (nodes.length > 0 && !fits.every((fit) => fit(nodes.length))) nodes.pop();
    return nodes;
  }

  /** Pages that a prefix hit may have. */
  private longestHit({ longestHit }: Sequence): number {
    return Math.floor(longestHit / this.pageSize);
  }

  private tokensOf(sequence: Sequence, page: number): number[] {
    return sequence.tokens(page * this.pageSize, (page + 1) * this.pageSize);
  }
}
