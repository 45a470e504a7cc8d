import type { DecoderStage } from "./decoder.ts";

/**
 * Turns ids into text as they come. No push gives half a character: an unfinished one waits for the ids that finish
 * it, and at `flush` becomes U+FFFD. All that was given out, in order, equals `Tokenizer.decode` of all the ids.
 * The work for an id does not grow with the ids before it. Made by `Tokenizer.detokenizer`.
 */
export class Detokenizer {
  readonly #pieceOf: (id: number) => string | undefined;
  readonly #stage: DecoderStage;

  /** `pieceOf`: the token string of an id, or undefined for an id that gives no text. */
  constructor(pieceOf: (id: number) => string | undefined, stage: DecoderStage) {
    this.#pieceOf = pieceOf;
    this.#stage = stage;
  }

  /** The text that is final now; may be empty. */
  push(id: number): string {
    const piece = this.#pieceOf(id);
    return piece === undefined ? "" : this.#stage.push(piece).join("");
  }

  /** The end: what was still held back. */
  flush(): string {
    return this.#stage.flush().join("");
  }
}
