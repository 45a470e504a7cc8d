import { describe, expect, it } from "vitest";
import { bf16ToNumber, f16ToNumber, numberToBf16, numberToF16 } from "../../src/base/half.ts";

const CODES = Array.from({ length: 65536 }, (_, bits) => bits);

/** A code's value by the definition of the format: IEEE 754-2019 §3.4, bfloat16 with 8 bits of exponent and 7 of fraction. */
function defined(bits: number, exponentBits: number, fractionBits: number): number {
  const sign = bits >> 15 ? -1 : 1;
  const exponent = (bits >> fractionBits) & (2 ** exponentBits - 1);
  const fraction = (bits & (2 ** fractionBits - 1)) / 2 ** fractionBits;
  const bias = 2 ** (exponentBits - 1) - 1;
  if (exponent === 2 ** exponentBits - 1) return fraction ? NaN : sign * Infinity;
  if (exponent === 0) return sign * fraction * 2 ** (1 - bias);
  return sign * (1 + fraction) * 2 ** (exponent - bias);
}

const FORMATS = [
  { name: "f16", widen: f16ToNumber, narrow: numberToF16, exponentBits: 5, fractionBits: 10 },
  { name: "bf16", widen: bf16ToNumber, narrow: numberToBf16, exponentBits: 8, fractionBits: 7 },
];

describe.each(FORMATS)("$name", ({ widen, narrow, exponentBits, fractionBits }) => {
  const infinite = (2 ** exponentBits - 1) << fractionBits;
  const isNaNCode = (bits: number): boolean => (bits & 0x7fff) > infinite;

  it("reads every code as the format defines it", () => {
    const wrong = CODES.filter((bits) => !Object.is(widen(bits), defined(bits, exponentBits, fractionBits)));
    expect(wrong).toEqual([]);
  });

  it("writes every value back as its own code, NaN as a NaN", () => {
    const wrong = CODES.filter((bits) => {
      const back = narrow(widen(bits));
      return isNaNCode(bits) ? !isNaNCode(back) : back !== bits;
    });
    expect(wrong).toEqual([]);
  });

  it("rounds what lies between two codes to the nearer, and to the even one from halfway", () => {
    const wrong: number[] = [];
    for (let bits = 0; bits < infinite; bits++) {
      // The step past the largest finite code is as wide as the one before it.
      const low = widen(bits);
      const high = bits + 1 === infinite ? 2 * low - widen(bits - 1) : widen(bits + 1);
      const middle = (low + high) / 2;
      const even = bits & 1 ? bits + 1 : bits;
      // A quarter of a step is exact in f32 everywhere but below bf16's subnormals, where f32 itself ends.
      const quarter = (high - low) / 4;
      const cases = [
        [middle, even],
        [middle - quarter, bits],
        [middle + quarter, bits + 1],
      ] as const;
      for (const [value, expected] of cases) {
        if (Math.fround(value) !== value) continue;
        if (narrow(value) !== expected || narrow(-value) !== (expected | 0x8000)) wrong.push(value);
      }
    }
    expect(wrong).toEqual([]);
  });

  it("keeps the sign of zero, and turns what is too large infinite", () => {
    expect([narrow(0), narrow(-0)]).toEqual([0, 0x8000]);
    expect([narrow(Infinity), narrow(-Infinity)]).toEqual([infinite, infinite | 0x8000]);
    expect([narrow(3.4028234663852886e38), narrow(-3.4028234663852886e38)]).toEqual([infinite, infinite | 0x8000]);
    expect(isNaNCode(narrow(NaN))).toBe(true);
  });
});

describe("numberToF16", () => {
  it.each([
    [65519.99609375, 0x7bff],
    [65520, 0x7c00],
    [2 ** -25, 0],
    [2 ** -25 * (1 + 2 ** -20), 1],
    [2 ** -24 * 1.5, 2],
    [2 ** -14 - 2 ** -25, 0x0400],
    [1e-30, 0],
  ])("writes %d as %i", (value, bits) => {
    expect(numberToF16(value)).toBe(bits);
    expect(numberToF16(-value)).toBe(bits | 0x8000);
  });
});
