import { describe, expect, it } from "vitest";
import { ArgumentError } from "../../src/base/errors.ts";
import { StopStrings } from "../../src/text/stop.ts";
import { seeded } from "./random.ts";

/** What is shown of each piece; then "|" where it stopped, else what the flush releases. */
function run(stops: string[], pieces: string[]): string[] {
  const filter = new StopStrings(stops);
  const shown: string[] = [];
  for (const piece of pieces) {
    const { text, stopped } = filter.push(piece);
    shown.push(text);
    if (stopped) return [...shown, "|"];
  }
  return [...shown, filter.flush()];
}

/** The definition, by brute force: the first prefix of the text that ends with a stop string; the longest of those. */
function cut(stops: string[], text: string): { text: string; stopped: boolean } {
  for (let end = 1; end <= text.length; end++) {
    const found = stops.filter((stop) => text.slice(0, end).endsWith(stop)).map((stop) => stop.length);
    if (found.length > 0) return { text: text.slice(0, end - Math.max(...found)), stopped: true };
  }
  return { text, stopped: false };
}

describe("StopStrings", () => {
  it("passes text through where there is nothing to stop at", () => {
    expect(run([], ["a", "b"])).toEqual(["a", "b", ""]);
    expect(run(["x"], ["a", "b"])).toEqual(["a", "b", ""]);
  });

  it("cuts at a match within a piece, and discards what follows", () => {
    expect(run(["END"], ["one END two"])).toEqual(["one ", "|"]);
    expect(run(["END"], ["END"])).toEqual(["", "|"]);
  });

  it("never shows the beginning of a match", () => {
    expect(run(["\n\nUser:"], ["Hi.\n", "\nUs", "er", ": me"])).toEqual(["Hi.", "", "", "", "|"]);
  });

  it("releases what turned out not to be one, and no more", () => {
    expect(run(["abc"], ["xa", "b", "b", "ab"])).toEqual(["x", "", "abb", "", "ab"]);
    expect(run(["aab"], ["aa", "a", "a", "b", "c"])).toEqual(["", "a", "a", "", "|"]);
    expect(run(["abab", "bac"], ["aba", "c"])).toEqual(["", "a", "|"]);
  });

  it("takes the match that is complete first; of two that end together, the longer", () => {
    expect(run(["abcd", "bc"], ["xabcd"])).toEqual(["xa", "|"]);
    expect(run(["c", "abc"], ["xabc"])).toEqual(["x", "|"]);
  });

  it("is over after a match", () => {
    const filter = new StopStrings(["."]);
    expect(filter.push("a.b")).toEqual({ text: "a", stopped: true });
    expect(filter.push("c")).toEqual({ text: "", stopped: true });
    expect(filter.flush()).toBe("");
  });

  it("starts afresh after a flush", () => {
    const filter = new StopStrings(["ab"]);
    expect(filter.push("a").text + filter.flush()).toBe("a");
    expect(filter.push("b")).toEqual({ text: "b", stopped: false });
  });

  it("refuses empty stop strings", () => {
    expect(() => new StopStrings(["a", ""])).toThrow(ArgumentError);
    expect(() => new StopStrings([7 as unknown as string])).toThrow(ArgumentError);
  });

  it("does not break surrogate pairs", () => {
    expect(run(["🦊"], ["🦋", "a🦊"])).toEqual(["🦋", "a", "|"]);
    expect(run(["🦊!"], ["🦊", "🦊", "?"])).toEqual(["", "🦊", "🦊?", ""]);
  });

  it("agrees with the definition on 20,000 random texts, however they are cut into pieces", () => {
    const below = seeded(3);
    const word = (length: number) => Array.from({ length }, () => "ab"[below(2)]).join("");
    for (let round = 0; round < 20_000; round++) {
      const stops = Array.from({ length: 1 + below(3) }, () => word(1 + below(6)));
      const pieces = Array.from({ length: below(8) }, () => word(below(4)));
      const wanted = cut(stops, pieces.join(""));
      const got = run(stops, pieces);
      const shown = got.filter((part) => part !== "|").join("");
      expect({ text: shown, stopped: got.at(-1) === "|" }, JSON.stringify({ stops, pieces })).toEqual(wanted);
    }
  }, 60_000);

  it("holds back exactly the longest end of the text that begins a stop string", () => {
    const below = seeded(4);
    for (let round = 0; round < 5_000; round++) {
      const word = (length: number) => Array.from({ length }, () => "ab"[below(2)]).join("");
      const stops = [word(2 + below(6)), word(2 + below(6))];
      const text = word(below(10));
      const { text: shown, stopped } = new StopStrings(stops).push(text);
      if (stopped) continue;
      const held = text.slice(shown.length);
      const ends = Array.from({ length: text.length }, (_, i) => text.slice(i));
      expect(held).toBe(ends.find((end) => stops.some((stop) => stop.startsWith(end))) ?? "");
    }
  }, 60_000);
});
