import { describe, expect, it } from "vitest";
import { PagePool } from "../../src/engine/pages.ts";

describe("PagePool", () => {
  it("gives each page once and takes it back", () => {
    const pool = new PagePool(5);
    const a = pool.allocate(2)!;
    const b = pool.allocate(3)!;
    expect(new Set([...a, ...b]).size).toBe(5);
    expect(pool.allocate(1)).toBeNull();
    pool.release(a);
    expect([pool.available, pool.used]).toEqual([2, 3]);
    pool.release(b);
    expect([pool.available, pool.used, pool.shared]).toEqual([5, 0, 0]);
  });

  it("changes nothing when it cannot give all", () => {
    const pool = new PagePool(3);
    expect(pool.allocate(4)).toBeNull();
    expect(pool.available).toBe(3);
  });

  it("keeps a shared page until its last holder lets go", () => {
    const pool = new PagePool(4);
    const pages = pool.allocate(2)!;
    pool.share(pages);
    pool.share([pages[0]!]);
    expect(pool.shared).toBe(2);
    pool.release(pages);
    expect([pool.shared, pool.used]).toEqual([1, 2]);
    pool.release(pages);
    expect([pool.shared, pool.used]).toEqual([0, 1]);
    pool.release([pages[0]!]);
    expect(pool.used).toBe(0);
  });

  it("refuses to release or share what nobody holds", () => {
    const pool = new PagePool(2);
    const [page] = pool.allocate(1)!;
    pool.release([page!]);
    expect(() => pool.release([page!])).toThrow(/nobody holds/);
    expect(() => pool.share([page!])).toThrow(/nobody holds/);
  });

  it("shuffles by seed, the same each time", () => {
    const order = (seed?: number) => new PagePool(64, seed).allocate(64)!;
    expect(order()).toEqual(Array.from({ length: 64 }, (_, i) => i));
    expect(order(7)).toEqual(order(7));
    expect(order(7)).not.toEqual(order());
    expect([...order(7)].sort((a, b) => a - b)).toEqual(order());
  });
});
