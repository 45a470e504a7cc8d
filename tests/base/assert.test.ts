import { describe, expect, it } from "vitest";
import { invariant, powerOfTwoAtLeast, roundUp } from "../../src/base/assert.ts";

describe("assert", () => {
  it("calls a broken invariant a bug of ours", () => {
    expect(() => invariant(1, "fine")).not.toThrow();
    expect(() => invariant(0, "it is zero")).toThrow("Tessera bug: it is zero");
  });

  it.each([
    [0, 4, 0],
    [1, 4, 4],
    [4, 4, 4],
    [5, 4, 8],
    [2 ** 32 - 1, 4, 2 ** 32],
    [2 ** 40 + 1, 256, 2 ** 40 + 256],
  ])("rounds %i up to a multiple of %i: %i", (x, step, expected) => {
    expect(roundUp(x, step)).toBe(expected);
  });

  it.each([
    [1, 1],
    [2, 2],
    [3, 4],
    [32, 32],
    [33, 64],
    [2 ** 33 + 1, 2 ** 34],
  ])("the power of two at least %i is %i", (x, expected) => {
    expect(powerOfTwoAtLeast(x)).toBe(expected);
  });
});
