import { readFile } from "node:fs/promises";
import type { Browser, Page } from "playwright";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { KernelReport } from "../../src/bench/index.ts";
import { launchBrowser } from "../support/browser.ts";
import { serveDemo } from "../support/demo.ts";

let server: Awaited<ReturnType<typeof serveDemo>>;
let browser: Browser;
let page: Page;
let faults: string[] = [];

beforeAll(async () => {
  server = await serveDemo();
  browser = await launchBrowser();
});

afterEach(async () => {
  await page.close();
  expect(faults).toEqual([]);
});

afterAll(async () => {
  await browser.close();
  await server.close();
});

const at = (id: string) => page.getByTestId(id);

async function open(width = 1280): Promise<void> {
  faults = [];
  page = await browser.newPage({ viewport: { width, height: 800 }, acceptDownloads: true });
  page.setDefaultTimeout(90_000);
  page.on("pageerror", (error) => faults.push(error.message));
  page.on("console", (message) => {
    if (/Content Security Policy|TrustedHTML|TrustedScript/.test(message.text())) faults.push(message.text());
  });
  await page.goto(new URL("bench.html", server.url).href);
}

async function measure(filter: string): Promise<void> {
  await at("filter").fill(filter);
  await at("quick").check();
  await at("start").click();
  await at("status")
    .filter({ hasText: /^Measured/ })
    .waitFor();
}

describe("the bench page", () => {
  it("is linked from the start page", async () => {
    await open();
    expect(await (await fetch(server.url)).text()).toContain('<a href="./bench.html">Measure this GPU</a>');
  });

  it("measures peaks and a case, plots it, gives the figures as a file, and compares with one", async () => {
    await open();
    await measure("embed q8 m1");
    expect(await at("peaks").textContent()).toMatch(/Streaming read[\d.]+ GB\/s.*f32 multiply-add[\d.]+ GFLOP\/s/);
    expect(await at("rows").locator("tr").count()).toBe(1);
    expect(await at("rows").textContent()).toContain("embed/smollm2-135m/q8/m1");
    expect(await at("plot").locator("path.point").count()).toBe(1);
    expect(await at("software").isVisible()).toBe(true); // a headless browser of this lane has no GPU

    const [download] = await Promise.all([page.waitForEvent("download"), at("download").click()]);
    const report = JSON.parse(await readFile(await download.path(), "utf8")) as KernelReport;
    expect(report).toMatchObject({ kind: "tessera kernels", schema: 1, software: true });
    expect(report.cases[0]).toMatchObject({ name: "embed/smollm2-135m/q8/m1", sane: true });

    const half = { ...report, cases: report.cases.map((c) => ({ ...c, ms: c.ms * 2 })) };
    const file = (text: string) => ({ name: "half.json", mimeType: "application/json", buffer: Buffer.from(text) });
    await at("file").setInputFiles(file(JSON.stringify(half)));
    await at("comparison").filter({ hasText: "1 case in common" }).waitFor();
    expect(await at("rows").locator("td").last().textContent()).toBe("0.500 ×");

    await at("file").setInputFiles(file('{"kind": "else"}'));
    await at("error").waitFor();
    expect(await at("error").textContent()).toMatch(/cannot be read.*no report of tessera bench kernels/s);
  });

  it("fits a window of 360 pixels, before and after", async () => {
    await open(360);
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(360);
    await measure("rope_write m1");
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(360);
  });

  it("stops when asked", async () => {
    await open();
    await at("quick").check();
    await at("start").click();
    await at("stop").click();
    await at("status").filter({ hasText: "Stopped." }).waitFor();
    expect(await at("start").isEnabled()).toBe(true);
  });

  it("says so where there is no adapter", async () => {
    await open();
    await page.evaluate(() => {
      Object.defineProperty(GPU.prototype, "requestAdapter", { value: () => Promise.resolve(null) });
    });
    await at("start").click();
    await at("error").waitFor();
    expect(await at("error").textContent()).toMatch(/no GPU that this page may use.*found no GPU/s);
  });
});
