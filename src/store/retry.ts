/** When a failed request is worth another try, and after how long. */
import { SourceError } from "../base/errors.ts";
import { throwIfAborted } from "./abort.ts";

/** Failures in a row before giving up. */
export const TRIES = 5;
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 8_000;
/** A server may ask for more patience than our own (Retry-After), up to this. */
const LONGEST_ASKED_MS = 60_000;

export type Wait = (ms: number, what: string, signal?: AbortSignal) => Promise<void>;

/** A failure that another try may mend: the network, a busy server, a body cut short. Never leaves `store`. */
export class Transient extends Error {
  /** What the server asked for, in milliseconds. */
  readonly retryAfter: number | undefined;
  constructor(message: string, options: ErrorOptions & { retryAfter?: number | undefined } = {}) {
    super(message, options);
    this.retryAfter = options.retryAfter;
  }
}

/** Counts the failures of one file's requests. */
export class Retries {
  readonly #name: string;
  readonly #wait: Wait;
  readonly #signal: AbortSignal | undefined;
  #failures = 0;

  constructor(name: string, wait: Wait, signal?: AbortSignal) {
    this.#name = name;
    this.#wait = wait;
    this.#signal = signal;
  }

  /** Bytes arrived: the next failure is a first one. */
  progress(): void {
    this.#failures = 0;
  }

  /**
   * Waits until the next try is due: 0.5, 1, 2, 4 s, or what the server asked for.
   * @throws the error itself where no try would help; SourceError when there were enough; AbortError.
   */
  async after(error: unknown): Promise<void> {
    throwIfAborted(`Reading ${this.#name}`, this.#signal);
    if (!(error instanceof Transient)) throw error;
    if (++this.#failures >= TRIES) {
      const advice = "Check the connection and the address, then try again.";
      throw new SourceError(this.#name, `${error.message}, ${TRIES} times in a row. ${advice}`, { cause: error });
    }
    const own = Math.min(FIRST_WAIT_MS * 2 ** (this.#failures - 1), LONGEST_WAIT_MS);
    await this.#wait(error.retryAfter ?? own, `Reading ${this.#name}`, this.#signal);
  }
}

/** Milliseconds of a Retry-After header (RFC 9110, 10.2.3: seconds or a date), bounded; undefined if it says nothing. */
export function retryAfterMs(header: string | null, now: number): number | undefined {
  if (header === null) return undefined;
  const ms = /^\d+$/.test(header.trim()) ? Number(header) * 1000 : Date.parse(header) - now;
  return Number.isNaN(ms) ? undefined : Math.min(Math.max(ms, 0), LONGEST_ASKED_MS);
}
