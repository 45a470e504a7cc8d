import type { Delta } from "../engine/port.ts";

/** Text that comes faster than frames is shown by frames all the same, and every message costs the page some time. */
const SEND_EVERY_MS = 16;

/** Gives out the deltas of one request in order: the first soon, what follows it within a frame together. */
export class DeltaQueue {
  private readonly queue: Delta[] = [];
  private timer: ReturnType<typeof setTimeout> | undefined;
  private sent = -Infinity;

  constructor(private readonly send: (deltas: Delta[]) => void) {}

  push(delta: Delta): void {
    this.queue.push(delta);
    this.timer ??= setTimeout(() => this.flush(), Math.max(0, this.sent + SEND_EVERY_MS - performance.now()));
  }

  /** Sends what waits; to be called when the request has ended. */
  flush(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    if (this.queue.length === 0) return;
    this.sent = performance.now();
    this.send(this.queue.splice(0));
  }
}
