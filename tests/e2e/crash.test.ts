/** The GPU process of a real browser crashes: the engine finds another device, and the page sees a pause. */
import type { Browser, Page } from "playwright";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type * as Library from "../../src/index.ts";
import { launchBrowser } from "../support/browser.ts";
import { serveDemo } from "../support/demo.ts";
import { repoRoot } from "../support/shared.ts";

const IDS = [1, 5, 9, 17, 33, 2, 40];
const MAX_TOKENS = 200;

/** What the page's own script keeps between two calls of `evaluate`. */
interface Kept {
  library: typeof Library;
  engine: Library.Engine;
  crash(): Promise<void>;
}

let server: Awaited<ReturnType<typeof serveDemo>>;
let browser: Browser;
let page: Page;

beforeAll(async () => {
  server = await serveDemo();
});
afterAll(() => server.close());

beforeEach(async () => {
  browser = await launchBrowser(); // of its own: Chromium allows a page so many crashes
  page = await browser.newPage();
  const cdp = await browser.newBrowserCDPSession();
  // The answer may go down with the process.
  await page.exposeFunction("crash", () => void cdp.send("Browser.crashGpuProcess").catch(() => undefined));
  await page.goto(new URL("bench.html", server.url).href); // loads no model of its own
});
afterEach(() => browser.close());

async function load(worker: boolean): Promise<void> {
  // As text: Vitest rewrites an import in a function to one of its own, which the page does not have.
  await page.evaluate(`import("/@fs${repoRoot}/src/index.ts").then((library) => { window.library = library; })`);
  await page.evaluate(async (inWorker) => {
    const kept = window as unknown as Kept;
    kept.engine = await kept.library.Engine.load(new URL("model/", location.href).href, { worker: inWorker });
  }, worker);
}

/** Greedy ids, and what became of it; the GPU process crashes at the delta of that number. */
const generate = (crashAt?: number) =>
  page.evaluate(
    async ([ids, maxTokens, at]) => {
      const { engine, crash } = window as unknown as Kept;
      const given: number[] = [];
      let deltas = 0;
      let crashed = 0;
      let failure: string | undefined;
      const generation = engine.generate([...ids], { temperature: 0, maxTokens });
      try {
        for await (const delta of generation) {
          given.push(...delta.ids);
          if (++deltas === at) {
            crashed = performance.now();
            await crash();
          }
        }
      } catch (error) {
        failure = (error as { code?: string }).code ?? String(error);
      }
      const ms = performance.now() - crashed;
      return { given, failure, ms, stats: engine.stats() };
    },
    [IDS, MAX_TOKENS, crashAt] as const,
  );

describe("a crash of the GPU process", () => {
  it("is a pause, and when no adapter is left an error", async () => {
    await load(false);
    const calm = await generate();
    expect(calm.given.length).toBeGreaterThan(50);
    const crashed = await generate(10);
    expect(crashed.failure).toBeUndefined();
    expect(crashed.given).toEqual(calm.given);
    expect(crashed.stats).toMatchObject({ recoveries: 1, running: 0, pages: { used: 0 } });
    expect(crashed.stats.gpuBytes).toEqual(calm.stats.gpuBytes);

    // Chromium may refuse WebGPU to a page whose GPU process has crashed before; then everything ends at once.
    const again = await generate(10);
    if (again.failure === undefined) {
      expect(again.given).toEqual(calm.given);
      expect(again.stats.recoveries).toBe(2);
    } else {
      expect(again.failure).toBe("device-lost");
      expect(again.given).toEqual(calm.given.slice(0, again.given.length));
      expect(again.stats).toMatchObject({ recoveries: 1, gpuBytes: { total: 0 }, pages: { used: 0 } });
    }
  });

  it("is a pause to an engine in a worker as well", async () => {
    await load(true);
    const calm = await generate();
    const crashed = await generate(10);
    expect(crashed.failure).toBeUndefined();
    expect(crashed.given).toEqual(calm.given);
    expect(crashed.stats.recoveries).toBe(1);
  });
});
