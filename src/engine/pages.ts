import { ArgumentError } from "../base/errors.ts";
import { invariant } from "../base/assert.ts";
import { PrefixIndex, type PrefixNode } from "./prefix.ts";

/**
 * The pages of one pool: who holds them, not what is in them. Pure, so that it can be tested by the thousand. A page is
 *
 *   free    nobody holds it, and what is in it means nothing;
 *   used    it has holders; with more than one it is shared and read-only (the scheduler copies what a fork writes);
 *   cached  nobody holds it, but the prefix index knows its tokens: it can be held again, or given away.
 */
export class PagePool {
  private readonly free: number[];
  private readonly holders: Uint16Array;
  /**
   * Cached pages, the least recently used first: a Set keeps the order of insertion. Sequences release their last page first,
   * so the end of a chain is given away before its beginning.
   */
  private readonly kept = new Set<number>();
  /** Where in the prefix index a page is known. */
  private readonly nodes = new Map<number, PrefixNode>();
  private sharedCount = 0;
  private releases = 0;

  /**
   * `seed` shuffles the order in which pages are given, so that tests do not live on the identity. Pools of one cache share an
   * index, where each has a number of its own.
   */
  constructor(
    readonly total: number,
    seed?: number,
    readonly prefix = new PrefixIndex(),
    readonly number = 0,
  ) {
    if (total < 1) throw new ArgumentError(`a pool of ${total} pages holds nothing`);
    this.free = Array.from({ length: total }, (_, i) => total - 1 - i);
    if (seed !== undefined) shuffle(this.free, seed);
    this.holders = new Uint16Array(total);
  }

  /** Pages that can be given: free and cached ones. */
  get available(): number {
    return this.free.length + this.kept.size;
  }

  get used(): number {
    return this.total - this.available;
  }

  get cached(): number {
    return this.kept.size;
  }

  /** Pages with more than one holder. */
  get shared(): number {
    return this.sharedCount;
  }

  /** Grows whenever pages may have become available. */
  get changes(): number {
    return this.releases;
  }

  isHeld(page: number): boolean {
    return this.holders[page]! > 0;
  }

  /** `count` pages with one holder each, cached ones last; or null, and then nothing has changed. */
  allocate(count: number): number[] | null {
    if (count > this.available) return null;
    while (this.free.length < count) this.evict();
    const pages = this.free.splice(this.free.length - count).reverse();
    for (const page of pages) this.holders[page] = 1;
    return pages;
  }

  /** Another holder for each of the pages; they are held by somebody, or cached. */
  share(pages: readonly number[]): void {
    for (const page of pages) {
      const holders = this.holders[page]!;
      invariant(holders > 0 || this.kept.delete(page), `page ${page} is shared but nobody holds it`);
      if (holders === 1) this.sharedCount++;
      this.holders[page] = holders + 1;
    }
  }

  /** One holder less, the last page first; a page without any is cached if its tokens are known, and else free. */
  release(pages: readonly number[]): void {
    if (pages.length > 0) this.releases++;
    for (const page of pages.toReversed()) {
      const holders = this.holders[page]!;
      invariant(holders > 0, `page ${page} is released but nobody holds it`);
      this.holders[page] = holders - 1;
      if (holders === 2) this.sharedCount--;
      if (holders > 1) continue;
      if (this.nodes.has(page)) this.kept.add(page);
      else this.free.push(page);
    }
  }

  /** Lets others find a held page by its tokens. The node has no page of this pool yet. */
  label(page: number, node: PrefixNode): void {
    invariant(this.isHeld(page) && !this.nodes.has(page), `page ${page} is known already, or nobody holds it`);
    invariant(node.pages[this.number] === undefined, `page ${page} is a second one of the same tokens`);
    node.pages[this.number] = page;
    this.nodes.set(page, node);
    this.prefix.hold(node);
  }

  /** Frees every cached page: what they hold is wrong, or no longer there. */
  forget(): void {
    while (this.kept.size > 0) this.evict();
  }

  private evict(): void {
    const [page] = this.kept;
    invariant(page !== undefined && !this.isHeld(page), "a page to evict is cached and nobody holds it");
    const node = this.nodes.get(page)!;
    this.kept.delete(page);
    this.nodes.delete(page);
    node.pages[this.number] = undefined;
    this.prefix.release(node);
    this.free.push(page);
  }
}

/** Fisher–Yates with a small linear congruential generator: for tests, not for chance. */
function shuffle(items: number[], seed: number): void {
  let state = seed >>> 0;
  for (let i = items.length - 1; i > 0; i--) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const j = Math.floor((state / 2 ** 32) * (i + 1));
    [items[i], items[j]] = [items[j]!, items[i]!];
  }
}
