import type { Delta, GenerationResult } from "../engine/port.ts";

/**
 * A running generation: iterate it for the text as it comes, await `result` for the whole. Work started when it was made.
 * Leaving the loop early cancels it. It can be iterated once.
 */
export interface Generation extends AsyncIterable<Delta> {
  readonly result: Promise<GenerationResult>;
}

type Start = (onDelta: (delta: Delta) => void, signal: AbortSignal) => Promise<GenerationResult>;

/** Starts at once; deltas wait in a queue until somebody takes them. */
export function startGeneration(start: Start, outer?: AbortSignal): Generation {
  const queue: Delta[] = [];
  let wake: (() => void) | undefined;
  let over = false;
  const notify = (): void => {
    wake?.();
    wake = undefined;
  };
  const cancel = new AbortController();
  const signal = outer ? AbortSignal.any([outer, cancel.signal]) : cancel.signal;
  const result = start((delta) => {
    queue.push(delta);
    notify();
  }, signal).finally(() => {
    over = true;
    notify();
  });
  // A caller may use the loop alone or the result alone; the other's rejection must not count as unhandled.
  result.catch(() => undefined);

  async function* deltas(): AsyncGenerator<Delta> {
    try {
      for (;;) {
        while (queue.length > 0) yield queue.shift()!;
        if (over) break;
        await new Promise<void>((resolve) => (wake = resolve));
      }
      await result; // throws what went wrong
    } finally {
      cancel.abort();
    }
  }
  const iterator = deltas();
  return { result, [Symbol.asyncIterator]: () => iterator };
}
