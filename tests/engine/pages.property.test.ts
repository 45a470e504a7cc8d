/** Random lives of the page pool and its prefix index, beside a plain list of what every page is. */
import fc from "fast-check";
import { expect, it } from "vitest";
import { PagePool } from "../../src/engine/pages.ts";
import { chainHash, PrefixIndex, type ChainEnd } from "../../src/engine/prefix.ts";
import { check } from "./fake-gpu.ts";

const RUNS = { numRuns: 1000, seed: 4, endOnFailure: process.env["TESSERA_FAULT"] !== undefined };

/** What a sequence does with pages: shares those of its path that are known, takes the others and makes them known. */
type Act = { open: number[]; indexed: boolean } | { close: number };

const acts: fc.Arbitrary<Act[]> = fc.array(
  fc.oneof(
    fc.record({ open: fc.array(fc.nat(1), { minLength: 1, maxLength: 5 }), indexed: fc.boolean() }),
    fc.record({ close: fc.nat(30) }),
  ),
  { maxLength: 200, size: "max" },
);

/** The same by the book: holders of each page, and when those that nobody holds were let go. */
class Model {
  readonly holders = new Map<number, number>();
  readonly cached: number[] = [];

  hold(page: number): void {
    this.holders.set(page, (this.holders.get(page) ?? 0) + 1);
    if (this.cached.includes(page)) this.cached.splice(this.cached.indexOf(page), 1);
  }

  release(pages: readonly number[], known: (page: number) => boolean): void {
    for (const page of pages.toReversed()) {
      const holders = this.holders.get(page)! - 1;
      if (holders > 0) this.holders.set(page, holders);
      else this.holders.delete(page);
      if (holders === 0 && known(page)) this.cached.push(page);
    }
  }
}

it("counts right, finds exactly what it was told, and gives away the least recently used page that nobody holds", () => {
  const property = fc.property(fc.integer({ min: 1, max: 12 }), fc.boolean(), acts, (total, oneHash, list) => {
    const pool = new PagePool(total, 1, new PrefixIndex(oneHash ? () => "" : undefined));
    const model = new Model();
    const open: number[][] = [];
    const pathOf = new Map<number, string>();
    const take = (): number | undefined => {
      const { cached, available } = pool;
      const [page] = pool.allocate(1) ?? [];
      if (page === undefined) {
        check(available === 0, "a page is refused while there are some");
        return undefined;
      }
      check(!model.holders.has(page), "a page that is held is given away");
      // Free pages go first; then the page that was let go longest ago.
      const evicted = pool.cached < cached;
      check(!evicted || (page === model.cached[0] && available === cached), "a page is evicted out of turn");
      model.hold(page);
      pathOf.delete(page);
      return page;
    };
    for (const act of list) {
      if ("close" in act) {
        const [pages] = open.splice(act.close % Math.max(1, open.length), 1);
        if (!pages) continue;
        pool.release(pages);
        model.release(pages, (page) => pathOf.has(page));
      } else {
        const pages: number[] = [];
        let chain: ChainEnd = "salt";
        for (let i = 0; i < act.open.length; i++) {
          const path = act.open.slice(0, i + 1).join();
          const known = [...pathOf].find(([, p]) => p === path)?.[0];
          const found = pool.prefix.find(chain, [act.open[i]!])?.pages[0];
          check(found === known, "a page is not found, or another one");
          const page = found ?? take();
          if (page === undefined) break;
          if (found !== undefined) {
            pool.share([page]);
            model.hold(page);
          }
          pages.push(page);
          chain = pool.prefix.extend(chain, [act.open[i]!]);
          if (found === undefined && act.indexed) {
            pool.label(page, chain);
            pathOf.set(page, path);
          }
        }
        pool.prefix.release(chain);
        open.push(pages);
      }
      const held = [...model.holders.values()];
      check(pool.used === held.length && pool.cached === model.cached.length, "pages are counted wrong");
      check(pool.shared === held.filter((n) => n > 1).length, "shared pages are counted wrong");
      check(pool.available + pool.used === total, "pages are lost");
    }
    open.forEach((pages) => pool.release(pages));
    pool.forget();
    expect([pool.used, pool.cached, pool.available, pool.prefix.size]).toEqual([0, 0, total, 0]);
  });
  fc.assert(property, RUNS);
}, 180_000);

it("names chains by 64 bits that differ for other ids, other parents, other salts", { timeout: 180_000 }, () => {
  const seen = new Map<string, string>();
  const chain = fc.tuple(fc.constantFrom("", "a", "b", "ab"), fc.array(fc.nat(70_000), { maxLength: 12 }));
  fc.assert(
    fc.property(chain, ([salt, ids]) => {
      const hash = chainHash(salt, ids);
      const name = JSON.stringify([salt, ids]);
      check(/^[0-9a-f]{16}$/.test(hash), "a hash is not 64 bits");
      check((seen.get(hash) ?? name) === name, "two chains have one name");
      seen.set(hash, name);
    }),
    { numRuns: 5_000, seed: 4 },
  );
  // Each half alone tells nearly all of them apart.
  for (const half of [0, 8]) {
    const halves = new Set([...seen.keys()].map((hash) => hash.slice(half, half + 8)));
    expect(halves.size).toBeGreaterThan(seen.size - 5);
  }
});
