import { ArgumentError } from "../base/errors.ts";
import { invariant } from "../base/assert.ts";

/**
 * The pages of one pool: who holds them, not what is in them. Pure, so that it can be tested by the thousand.
 * A page with more than one holder is shared and read-only; the scheduler sees to that by copying what a fork writes.
 */
export class PagePool {
  private readonly free: number[];
  private readonly holders: Uint16Array;
  private sharedCount = 0;

  /** `seed` shuffles the order in which pages are given, so that tests do not live on the identity. */
  constructor(
    readonly total: number,
    seed?: number,
  ) {
    if (total < 1) throw new ArgumentError(`a pool of ${total} pages holds nothing`);
    this.free = Array.from({ length: total }, (_, i) => total - 1 - i);
    if (seed !== undefined) shuffle(this.free, seed);
    this.holders = new Uint16Array(total);
  }

  get available(): number {
    return this.free.length;
  }

  get used(): number {
    return this.total - this.free.length;
  }

  /** Pages with more than one holder. */
  get shared(): number {
    return this.sharedCount;
  }

  /** `count` pages with one holder each, or null, and then nothing has changed. */
  allocate(count: number): number[] | null {
    if (count > this.free.length) return null;
    const pages = this.free.splice(this.free.length - count).reverse();
    for (const page of pages) this.holders[page] = 1;
    return pages;
  }

  /** Another holder for each of the pages. */
  share(pages: readonly number[]): void {
    for (const page of pages) {
      const holders = this.holders[page]!;
      invariant(holders > 0, `page ${page} is shared but nobody holds it`);
      if (holders === 1) this.sharedCount++;
      this.holders[page] = holders + 1;
    }
  }

  /** One holder less; a page without any is free again. */
  release(pages: readonly number[]): void {
    for (const page of pages) {
      const holders = this.holders[page]!;
      invariant(holders > 0, `page ${page} is released but nobody holds it`);
      this.holders[page] = holders - 1;
      if (holders === 2) this.sharedCount--;
      if (holders === 1) this.free.push(page);
    }
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
