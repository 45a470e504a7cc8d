import { abortable } from "./abort.ts";
import { Transient } from "./retry.ts";

/** One response's body, read forward from `position` (a byte offset in the file). */
export class Body {
  position: number;
  /** True if it runs to the end of the file whatever was asked for: the server ignored the range. */
  readonly whole: boolean;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
  readonly #stop: AbortController;
  /** The part of the last chunk that nobody has taken yet. */
  #rest: Uint8Array | undefined;

  /** `stop` ends the request that `response` came from. */
  constructor(response: Response, position: number, whole: boolean, stop: AbortController) {
    this.position = position;
    this.whole = whole;
    this.#reader = response.body?.getReader();
    this.#stop = stop;
  }

  /**
   * The next bytes of [from, end), skipping what lies before; null where the body ends.
   * @throws Transient if the connection fails; AbortError.
   */
  async take(from: number, end: number, what: string, signal?: AbortSignal): Promise<Uint8Array | null> {
    for (;;) {
      const chunk = this.#rest ?? (await this.#next(what, signal));
      this.#rest = undefined;
      if (!chunk) return null;
      const start = Math.min(chunk.length, from - this.position);
      const stop = Math.min(chunk.length, end - this.position);
      this.position += stop;
      if (stop < chunk.length) this.#rest = chunk.subarray(stop);
      if (stop > start) return chunk.subarray(start, stop);
    }
  }

  /** Ends the request, wherever it is. */
  cancel(): void {
    this.#stop.abort();
  }

  /** Lets the connection be used again, if nothing more than what was asked for is coming. */
  finish(): void {
    if (this.#rest || !this.#reader) return this.cancel();
    this.#reader.read().then(
      ({ done }) => done || this.cancel(),
      () => {},
    );
  }

  async #next(what: string, signal?: AbortSignal): Promise<Uint8Array | undefined> {
    if (!this.#reader) return undefined;
    try {
      return (await abortable(this.#reader.read(), what, signal)).value;
    } catch (error) {
      this.cancel();
      if (signal?.aborted) throw error;
      throw new Transient("the connection broke", { cause: error });
    }
  }
}
