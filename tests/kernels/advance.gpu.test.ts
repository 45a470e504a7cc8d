import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { advance } from "../../src/kernels/sample.ts";
import { Random } from "../reference/random.ts";
import { KernelBench, type SlotSetup } from "../support/kernel-bench.ts";

let bench: KernelBench;
beforeAll(async () => {
  bench = await KernelBench.open();
});
afterAll(() => bench.close());

describe("advance", () => {
  const cases = [1, 2, 3, 7, 8, 31, 32, 63, 64, 65, 70].flatMap((segments) =>
    (["count", "accepted", "both"] as const).map((grows) => [segments, grows] as const),
  );
  it.each(cases)("%i sequences grow by %s", async (segments, grows) => {
    const random = new Random(segments);
    const slots: SlotSetup[] = Array.from({ length: 72 }, (_, i) => ({
      length: random.below(1000),
      position: 5000 + random.below(1000),
      token: i,
      counter: 2 * i,
      accepted: random.below(9),
      regime: i % 3,
      ended: i % 2,
    }));
    // Slots in some order, and two that are not in the batch at all.
    const order = random.permutation(72).slice(0, segments);
    const plan = order.map((slot, i) => ({
      slot,
      tokens: i % 3 ? new Array<number>(1 + (i % 5)).fill(0) : null,
      accept: grows === "accepted" || (grows === "both" && i % 2 === 1),
    }));
    const states = await bench.run(
      { plan: { segments: plan }, slots, limits: { slots: 72, rows: 256 } },
      (graph) => advance(graph),
      (program) => program.states(),
    );
    const expected = slots.map((s) => ({ ...s }));
    for (const { slot, tokens, accept } of plan) {
      const grown = accept ? slots[slot]!.accepted! : (tokens?.length ?? 1);
      expected[slot]!.length! += grown;
      expected[slot]!.position! += grown;
    }
    expect(states).toEqual(expected);
  });
});
