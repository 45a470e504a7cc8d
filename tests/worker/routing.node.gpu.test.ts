/**
 * Counts of experts across the port of a worker. Client and host are the real ones and messages are structured-cloned, but
 * both live on this thread: so it runs in Node, where there are no web workers.
 */
import { afterAll, beforeAll, describe, expect, inject, it, vi } from "vitest";
import { DisposedError } from "../../src/index.ts";
import type * as Loading from "../../src/engine/load.ts";
import type * as Client from "../../src/worker/client.ts";
import { readGolden, rowSource } from "../engine/families.ts";

const ORIGIN = "https://tessera.test";

// The host is asked for a URL, and loads what lies there in the file system.
vi.mock("../../src/engine/load.ts", async (original) => {
  const real = await original<typeof Loading>();
  const loadEngine: typeof real.loadEngine = (source, options) =>
    real.loadEngine(typeof source === "string" ? source.replace("https://tessera.test", "") : source, options);
  return { ...real, loadEngine };
});

/** What a worker's own side sees as `self`. */
class Scope extends EventTarget {
  page: EventTarget | undefined;
  postMessage(reply: unknown, transfer: Transferable[]): void {
    deliver(this.page!, structuredClone(reply, { transfer }));
  }
}

/** The page's side of it. */
class PairedWorker extends EventTarget {
  constructor(private readonly scope: Scope) {
    super();
    scope.page = this;
  }
  postMessage(request: unknown): void {
    deliver(this.scope, structuredClone(request));
  }
  terminate(): void {}
}

function deliver(to: EventTarget, data: unknown): void {
  queueMicrotask(() => to.dispatchEvent(new MessageEvent("message", { data })));
}

const scope = new Scope();
let client: typeof Client;

beforeAll(async () => {
  vi.stubGlobal("self", scope);
  // No locks: nobody ends this worker unseen.
  vi.stubGlobal("navigator", {});
  vi.stubGlobal("Worker", PairedWorker);
  client = await import("../../src/worker/client.ts");
  await import("../../src/worker/host.ts");
});
afterAll(() => vi.unstubAllGlobals());

const loadThere = (row: string, contextTokens: number): Promise<Client.WorkerEngine> =>
  client.WorkerEngine.load(
    ORIGIN + rowSource(row),
    { contextTokens },
    () => new PairedWorker(scope) as unknown as Worker,
  );

// What crosses a port is the same on every driver.
describe.skipIf(inject("lane") !== "dawn-lavapipe")("routing() across a worker", () => {
  it("brings the counts of every layer with experts, as they are by then", async () => {
    const { ids, contextTokens } = await readGolden("qwen3_moe-dense");
    const engine = await loadThere("qwen3_moe-dense", contextTokens);
    expect(await engine.routing()).toEqual([{ layer: 3, counts: new Array<number>(16).fill(0) }]);
    await engine.logits(ids, "all");
    const [first, again] = await Promise.all([engine.routing(), engine.routing()]);
    expect(first).toEqual(again);
    const total = (counts: readonly number[]): number => counts.reduce((a, b) => a + b, 0);
    expect(first.map(({ layer, counts }) => [layer, counts.length, total(counts)])).toEqual([[3, 16, 4 * ids.length]]);
    expect(engine.stats().rows.prefill).toBe(ids.length);

    await engine.dispose();
    await expect(engine.routing()).rejects.toBeInstanceOf(DisposedError);
  });
});
