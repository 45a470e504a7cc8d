import { ArgumentError } from "../base/errors.ts";

interface Matcher {
  readonly stop: string;
  /** `failure[k]`: length of the longest proper prefix of `stop` that ends `stop[0..k)` (Knuth, Morris, Pratt 1977). */
  readonly failure: readonly number[];
  /** How much of `stop` the text so far ends with. */
  matched: number;
}

/**
 * Cuts a stream of text at the first stop string. Text that may be the beginning of a stop string is held back, so a
 * partial match never shows; the match itself and all that follows is discarded. The match that is complete first
 * wins (of two that end together, the longer), so that the result does not depend on how the text was cut into pieces.
 */
export class StopStrings {
  readonly #matchers: Matcher[];
  #held = "";
  #stopped = false;

  /** Throws ArgumentError for an empty stop string, which would match everywhere. */
  constructor(stops: readonly string[]) {
    this.#matchers = stops.map((stop) => {
      if (typeof stop !== "string" || stop === "") {
        throw new ArgumentError("A stop string must be a string of at least one character. Remove the empty one.");
      }
      return { stop, failure: failureTable(stop), matched: 0 };
    });
  }

  /** The text that can be shown now. Once `stopped`, nothing more will come. */
  push(text: string): { text: string; stopped: boolean } {
    if (this.#stopped) return { text: "", stopped: true };
    const pending = this.#held + text;
    for (let i = this.#held.length; i < pending.length; i++) {
      const length = this.#advance(pending[i]!);
      if (length > 0) {
        this.#stopped = true;
        this.#held = "";
        return { text: pending.slice(0, i + 1 - length), stopped: true };
      }
    }
    const hold = this.#matchers.reduce((longest, m) => Math.max(longest, m.matched), 0);
    this.#held = pending.slice(pending.length - hold);
    return { text: pending.slice(0, pending.length - hold), stopped: false };
  }

  /** The end of the text: what was held back, since no stop string came of it. */
  flush(): string {
    const held = this.#held;
    this.#held = "";
    for (const matcher of this.#matchers) matcher.matched = 0;
    return held;
  }

  /** Takes one UTF-16 unit; the length of the longest stop string that ends with it, else 0. */
  #advance(unit: string): number {
    let complete = 0;
    for (const m of this.#matchers) {
      while (m.matched > 0 && m.stop[m.matched] !== unit) m.matched = m.failure[m.matched]!;
      if (m.stop[m.matched] === unit) m.matched++;
      if (m.matched === m.stop.length) complete = Math.max(complete, m.matched);
    }
    return complete;
  }
}

function failureTable(pattern: string): number[] {
  const failure = [0, 0];
  for (let k = 1, prefix = 0; k < pattern.length; k++) {
    while (prefix > 0 && pattern[k] !== pattern[prefix]) prefix = failure[prefix]!;
    if (pattern[k] === pattern[prefix]) prefix++;
    failure.push(prefix);
  }
  return failure;
}
