import { AbortError } from "../base/errors.ts";

export function throwIfAborted(what: string, signal?: AbortSignal): void {
  if (signal?.aborted) throw new AbortError(what, signal.reason);
}

/** `promise`, or AbortError as soon as `signal` fires, however long the promise takes to notice by itself. */
export async function abortable<T>(promise: Promise<T>, what: string, signal?: AbortSignal): Promise<T> {
  if (!signal) return promise;
  let onAbort = (): void => {};
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => reject(new AbortError(what, signal.reason));
    if (signal.aborted) onAbort();
    else signal.addEventListener("abort", onAbort);
  });
  try {
    return await Promise.race([aborted, promise]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

/** Sleeps; AbortError as soon as `signal` fires. */
export async function sleep(ms: number, what: string, signal?: AbortSignal): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  try {
    await abortable(new Promise<void>((done) => (timer = setTimeout(done, ms))), what, signal);
  } finally {
    clearTimeout(timer);
  }
}
