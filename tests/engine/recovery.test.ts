import { describe, expect, it } from "vitest";
import { DeviceLostError, NoAdapterError, SourceError } from "../../src/base/errors.ts";
import { Recovery, type Assembly } from "../../src/engine/recovery.ts";
import { check } from "./fake-gpu.ts";
import { checkOutcome, PLAIN, ROOMY, World } from "./world.ts";

const loss = (message = "driver reset"): DeviceLostError => new DeviceLostError("unknown", message);
const failureOf = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => undefined,
    (e: unknown) => e,
  );

describe("Recovery", () => {
  it("replaces a device, and counts", async () => {
    const made = {} as Assembly;
    const recovery = new Recovery(() => Promise.resolve(made));
    expect(await recovery.replace(loss())).toBe(made);
    expect(await recovery.replace(loss())).toBe(made);
    expect(recovery.count).toBe(2);
  });

  it("replaces what is lost meanwhile, up to three within a minute, whatever is lost later", async () => {
    let now = 5_000_000;
    let fails = 2;
    let tries = 0;
    const recovery = new Recovery(
      () => (tries++, fails-- > 0 ? Promise.reject(loss("again")) : Promise.resolve({} as Assembly)),
      () => now,
    );
    await recovery.replace(loss()); // three losses: the device, and two that were to replace it
    expect(tries).toBe(3);
    now += 59_000;
    const error = await failureOf(recovery.replace(loss("and again")));
    expect(error).toBeInstanceOf(DeviceLostError);
    expect((error as DeviceLostError).reason).toBe("unknown");
    expect((error as DeviceLostError).message).toMatch(/and again; it could.*4 were lost/);
    expect(tries).toBe(3);
    now += 60_001;
    await recovery.replace(loss());
    expect([tries, recovery.count]).toEqual([4, 2]);
  });

  it.each([
    new NoAdapterError("No WebGPU adapter."),
    new SourceError("model.safetensors", "the server is away"),
    new DeviceLostError("destroyed", "by hand"),
    new Error("anything"),
  ])("gives up at once, and says why: %s", async (cause) => {
    let tries = 0;
    const recovery = new Recovery(() => (tries++, Promise.reject(cause)));
    const error = await failureOf(recovery.replace(loss()));
    expect(error).toBeInstanceOf(DeviceLostError);
    expect(error).toMatchObject({ reason: "unknown", cause });
    expect((error as Error).message).toContain(cause.message.replace(/\.$/, ""));
    expect([tries, recovery.count]).toEqual([1, 0]);
  });

  it("tells who makes the next device that nobody wants it any more", async () => {
    let told: AbortSignal | undefined;
    const recovery = new Recovery((signal) => ((told = signal), Promise.resolve({} as Assembly)));
    await recovery.replace(loss());
    expect(told!.aborted).toBe(false);
    recovery.abandon();
    expect(told!.aborted).toBe(true);
  });

  it("does not mend what somebody destroyed, or an error that is no loss", () => {
    expect(Recovery.isMendable(loss())).toBe(true);
    expect(Recovery.isMendable(new DeviceLostError("destroyed", ""))).toBe(false);
    expect(Recovery.isMendable(new Error("validation"))).toBe(false);
  });
});

describe("a scheduler that starts anew", () => {
  // The full page of the prompt is counted once for all four; each continuation takes one more of its own.
  it("forks again where the end of the prompt was lost, in a pool that holds the request just so", () => {
    const world = new World({ ...ROOMY, pages: 5, pageSize: 4, rows: 8 });
    const heard = world.add({ ...PLAIN, ids: [1, 2, 0, 1], n: 4, maxTokens: 5, temperature: 1, seed: 3 })!;
    check(world.submit()?.head === "sample", "the prompt ends in the first step");
    world.lose();
    world.drain();
    checkOutcome(heard);
    expect(world.scheduler.counters.prefillRows).toBe(2 * 4); // once on each device, for all four
    world.checkEmpty();
  });

  it("ends at once what was over, and keeps the order of the others", () => {
    const world = new World({ ...ROOMY, slots: 2 });
    const [first, second, third] = [0, 1, 2].map((id) => world.add({ ...PLAIN, ids: [id, id], maxTokens: 14 })!);
    world.submit();
    world.submit();
    first!.cancelled = true;
    world.scheduler.cancel(first!.request, "abort");
    expect(first!.done).toBe(0); // its step is under way
    world.lose();
    expect([first!.done, second!.done, third!.done]).toEqual([1, 0, 0]);
    expect(world.scheduler.counts).toMatchObject({ running: 0, waiting: 2 });
    expect(world.submit()!.setups.map((s) => s.sequence.group.request)).toEqual([second!.request, third!.request]);
    world.drain();
    [first, second, third].forEach((heard) => checkOutcome(heard!));
  });
});
