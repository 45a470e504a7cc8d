import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Delta } from "../../src/engine/port.ts";
import { DeltaQueue } from "../../src/worker/deltas.ts";

const delta = (id: number): Delta => ({ index: 0, ids: [id], text: `${id} `, channel: "final" });

let sent: number[][];
let queue: DeltaQueue;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
  sent = [];
  queue = new DeltaQueue((deltas) => sent.push(deltas.flatMap(({ ids }) => ids)));
});
afterEach(() => vi.useRealTimers());

describe("DeltaQueue", () => {
  it("sends the first at once, and together what is there by then", () => {
    queue.push(delta(1));
    queue.push(delta(2));
    expect(sent).toEqual([]);
    vi.advanceTimersByTime(0);
    expect(sent).toEqual([[1, 2]]);
  });

  it("gathers what follows within a frame, in order", () => {
    queue.push(delta(1));
    vi.advanceTimersByTime(0);
    for (const id of [2, 3, 4]) {
      queue.push(delta(id));
      vi.advanceTimersByTime(5);
    }
    expect(sent).toEqual([[1]]);
    vi.advanceTimersByTime(1);
    expect(sent).toEqual([[1], [2, 3, 4]]);
  });

  it("sends at once again after a pause", () => {
    queue.push(delta(1));
    vi.advanceTimersByTime(1000);
    queue.push(delta(2));
    vi.advanceTimersByTime(0);
    expect(sent).toEqual([[1], [2]]);
  });

  it("sends the rest when it is flushed, and nothing twice", () => {
    queue.push(delta(1));
    vi.advanceTimersByTime(0);
    queue.push(delta(2));
    queue.flush();
    queue.flush();
    vi.advanceTimersByTime(1000);
    expect(sent).toEqual([[1], [2]]);
  });
});
