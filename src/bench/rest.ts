/**
 * Dawn's binding for Node looks for results in every turn of the event loop while anything is under way, which takes a core;
 * a driver that computes on the CPU then has one less. So on software devices the turns rest while something is measured.
 * In a page, which waits otherwise and may not block, nothing is done.
 */
export async function rested<T>(software: boolean, run: () => Promise<T>): Promise<T> {
  if (!software || typeof setImmediate !== "function" || typeof document !== "undefined") return run();
  const cell = new Int32Array(new SharedArrayBuffer(4));
  let running = true;
  const turn = (): void => {
    Atomics.wait(cell, 0, 0, REST_MS);
    if (running) setImmediate(turn);
  };
  setImmediate(turn);
  try {
    return await run();
  } finally {
    running = false;
  }
}

/** Short beside any step of a software device. */
const REST_MS = 1;
