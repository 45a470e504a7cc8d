import { describe, expect, it } from "vitest";
import { WeightDigest } from "../../src/weights/digest.ts";

const tensor = (name: string, bytes: number, change: object = {}) => ({
  name,
  dtype: "F32",
  shape: [bytes / 4],
  begin: 100,
  end: 100 + bytes,
  ...change,
});
const bytesOf = (length: number): Uint8Array => Uint8Array.from({ length }, (_, i) => (i * 7 + (i >> 8)) & 255);

type Part = { tensor: ReturnType<typeof tensor>; data: Uint8Array; chunk?: number };

function digestOf(...parts: Part[]): string {
  const digest = new WeightDigest();
  for (const { tensor: t, data, chunk = data.length } of parts) {
    for (let at = 0; at < data.length; at += chunk) digest.add(t, data.subarray(at, at + chunk), at);
  }
  return digest.value;
}

const SMALL = { tensor: tensor("a", 1000), data: bytesOf(1000) };
const LARGE = { tensor: tensor("b", 100_000), data: bytesOf(100_000) };

describe("a digest of weights", () => {
  it("does not depend on chunks, nor on the order of tensors or their place in a file", () => {
    const expected = digestOf(SMALL, LARGE);
    expect(expected).toMatch(/^[0-9a-f]{16}$/);
    for (const chunk of [4, 12, 1000, 4096]) expect(digestOf({ ...SMALL, chunk }, { ...LARGE, chunk })).toBe(expected);
    expect(digestOf(LARGE, SMALL)).toBe(expected);
    expect(digestOf({ ...SMALL, tensor: tensor("a", 1000, { begin: 0, end: 1000 }) }, LARGE)).toBe(expected);
  });

  it("changes with a name, a type, a shape, or any byte of a small tensor", () => {
    const expected = digestOf(SMALL);
    for (const change of [{ name: "c" }, { dtype: "I32" }, { shape: [10, 25] }]) {
      expect(digestOf({ ...SMALL, tensor: tensor("a", 1000, change) })).not.toBe(expected);
    }
    const seen = new Set([expected]);
    for (let at = 0; at < 1000; at += 37) {
      const data = SMALL.data.slice();
      data[at]! ^= 1;
      seen.add(digestOf({ ...SMALL, data }));
    }
    expect(seen.size).toBe(1 + Math.ceil(1000 / 37));
    expect(digestOf({ ...SMALL, data: SMALL.data.toReversed() })).not.toBe(expected);
  });

  it("sees about 1 KiB of a large tensor, its first and its last bytes among it", () => {
    const expected = digestOf(LARGE);
    const changed = (at: number): boolean => {
      const data = LARGE.data.slice();
      data[at]! ^= 1;
      return digestOf({ ...LARGE, data }) !== expected;
    };
    expect([0, 15, 99_984, 99_999].map(changed)).toEqual([true, true, true, true]);
    const seen = Array.from({ length: 1000 }, (_, i) => changed(100 * i + 3)).filter(Boolean).length;
    expect(seen).toBeGreaterThan(3);
    expect(seen).toBeLessThan(30);
    // What differs throughout, as other weights do, is another.
    expect(digestOf({ ...LARGE, data: LARGE.data.map((b) => b ^ 128) })).not.toBe(expected);
  });
});
