import { describe, expect, it } from "vitest";
import { cutWindows, prefixOf, splitDocuments } from "../../src/cli/windows.ts";
import { ArgumentError } from "../../src/index.ts";

const range = (count: number): number[] => Array.from({ length: count }, (_, i) => 100 + i);

/** The text's ids in the order in which they are scored: `score` gives a value for every id but a window's first. */
function scored(ids: number[], prefix: number[], size: number): number[] {
  return cutWindows(ids, prefix, size).flatMap((window) => window.ids.slice(1).slice(window.from));
}

describe("windows", () => {
  it("start with BOS", () => {
    expect(cutWindows([1, 2, 3, 4, 5], [0], 3)).toEqual([
      { ids: [0, 1, 2], from: 0 },
      { ids: [0, 3, 4], from: 0 },
      { ids: [0, 5], from: 0 },
    ]);
  });

  it("start with the last id of the one before where there is no BOS", () => {
    expect(cutWindows([1, 2, 3, 4, 5, 6], [], 3)).toEqual([
      { ids: [1, 2, 3], from: 0 },
      { ids: [3, 4, 5], from: 0 },
      { ids: [5, 6], from: 0 },
    ]);
  });

  it("skip what is scored of a longer prefix", () => {
    expect(cutWindows([1, 2, 3], [8, 9], 4)).toEqual([
      { ids: [8, 9, 1, 2], from: 1 },
      { ids: [8, 9, 3], from: 1 },
    ]);
  });

  it.each([2, 3, 4, 7, 16])("of %i ids score every id once, and hold no more than that", (size) => {
    for (let count = 0; count <= 40; count++) {
      const ids = range(count);
      expect(scored(ids, [], size)).toEqual(ids.slice(1));
      expect(scored(ids, [0], size)).toEqual(ids);
      if (size > 2) expect(scored(ids, [0, 7], size)).toEqual(ids);
      const windows = [...cutWindows(ids, [], size), ...cutWindows(ids, [0], size)];
      for (const window of windows) {
        expect(window.ids.length).toBeLessThanOrEqual(size);
        expect(window.ids.length).toBeGreaterThanOrEqual(2);
      }
    }
  });

  it("are as few as can be", () => {
    expect(cutWindows(range(9), [0], 4)).toHaveLength(3);
    expect(cutWindows(range(10), [], 4)).toHaveLength(3);
    expect(cutWindows(range(11), [], 4)).toHaveLength(4);
  });

  it("need room for text", () => {
    expect(() => cutWindows([1], [7, 8], 2)).toThrow(ArgumentError);
    expect(() => cutWindows([1, 2], [], 1)).toThrow(/larger --context/);
  });
});

describe("the prefix", () => {
  it.each<[what: string, special: number[], bare: number[], expected: number[]]>([
    ["none", [5, 6], [5, 6], []],
    ["BOS", [0, 5, 6], [5, 6], [0]],
    ["two tokens", [0, 1, 5], [5], [0, 1]],
    ["BOS and EOS", [0, 5, 6, 2], [5, 6], [0]],
    ["EOS alone", [5, 6, 2], [5, 6], []],
  ])("is %s", (_what, special, bare, expected) => {
    expect(prefixOf(special, bare)).toEqual(expected);
  });

  it("cannot be told if the text itself changes", () => {
    expect(() => prefixOf([0, 5, 7], [5, 6])).toThrow(ArgumentError);
    expect(() => prefixOf([5], [5, 6])).toThrow(ArgumentError);
  });
});

describe("documents", () => {
  const mark = "<|endoftext|>";
  it.each<[what: string, text: string, expected: string[]]>([
    ["nothing", "", []],
    ["one, whole", "a\nb\n", ["a\nb\n"]],
    ["one, of white space", " \n", [" \n"]],
    ["two", `a\n${mark}\nb`, ["a", "b"]],
    ["two, each with its line break", `a\n${mark}\nb\n`, ["a", "b"]],
    ["two, of several lines", `a\n\nb\n${mark}\n\nc\n\n`, ["a\n\nb", "\nc\n"]],
    ["one between separators", `${mark}\na\n${mark}\n`, ["a"]],
    ["none between them", `a\n${mark}\n${mark}\nb`, ["a", "b"]],
    ["separators alone", `${mark}\n${mark}`, []],
    ["lines of Windows", `a\r\n${mark}\r\nb`, ["a\r", "b"]],
    ["the token within a line is text", `a ${mark}\nb${mark}\n`, [`a ${mark}\nb${mark}\n`]],
  ])("%s", (_what, text, expected) => {
    expect(splitDocuments(text)).toEqual(expected);
  });
});
