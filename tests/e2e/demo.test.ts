import { join } from "node:path";
import type { Browser, Page } from "playwright";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { launchBrowser } from "../support/browser.ts";
import { serveDemo } from "../support/demo.ts";
import { repoRoot } from "../support/shared.ts";

const BUILT_IN = "Little storyteller";
const PROMPT = "Once upon a time, there was a little fox who";

let server: Awaited<ReturnType<typeof serveDemo>>;
let browser: Browser;
let page: Page;
/** What no visit may leave behind: exceptions, and refusals of the page's content security policy. */
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

async function newPage(viewport = { width: 1280, height: 800 }): Promise<void> {
  faults = [];
  page = await browser.newPage({ viewport });
  page.setDefaultTimeout(60_000);
  page.on("pageerror", (error) => faults.push(error.message));
  page.on("console", (message) => {
    if (/Content Security Policy|TrustedHTML|TrustedScript/.test(message.text())) faults.push(message.text());
  });
}

const at = (id: string) => page.getByTestId(id);
const textOf = async (id: string) => (await at(id).textContent()) ?? "";

async function status(pattern: RegExp): Promise<void> {
  await at("status").filter({ hasText: pattern }).waitFor();
}

async function open(): Promise<void> {
  await newPage();
  await page.goto(server.url);
  await status(/^Ready\.$/);
}

async function set(settings: { temperature?: number; maxTokens?: number; seed?: number }): Promise<void> {
  if (settings.temperature !== undefined) await at("temperature").fill(String(settings.temperature));
  if (settings.maxTokens !== undefined) await at("max-tokens").fill(String(settings.maxTokens));
  if (settings.seed !== undefined) await at("seed").fill(String(settings.seed));
}

/** Writes `maxTokens` tokens at most and gives the page's text. */
async function generate(prompt = PROMPT, settings: Parameters<typeof set>[0] = {}): Promise<string> {
  await at("prompt").fill(prompt);
  await set({ maxTokens: 6, ...settings });
  await at("generate").click();
  await status(/^Finished/);
  return textOf("output");
}

/**
 * Lets the output grow `times` times, each time at another frame, and then at once stops it by `by` ("Escape" is the
 * key, "focused" a click on what has the focus, else on what has that test id): a fast GPU is through before a command of Playwright's arrives.
 * Resolves with the output's length at each growth.
 */
async function grow(times: number, by?: string): Promise<number[]> {
  return page.evaluate(
    async ([times, by]) => {
      const find = (id: string) => document.querySelector<HTMLElement>(`[data-testid=${id}]`)!;
      const lengths = [find("output").querySelector(".given")?.textContent.length ?? 0];
      while (lengths.length <= times) {
        await new Promise((resolve) => requestAnimationFrame(resolve));
        const now = find("output").textContent.length;
        if (now > lengths.at(-1)!) lengths.push(now);
      }
      if (by === "Escape") document.body.dispatchEvent(new KeyboardEvent("keydown", { key: by, bubbles: true }));
      else if (by === "focused") (document.activeElement as HTMLElement).click();
      else if (by === "lose") document.dispatchEvent(new Event(by));
      else if (by !== undefined) find(by).click();
      return lengths.slice(1);
    },
    [times, by] as const,
  );
}

describe("writing", () => {
  it("loads the built-in model with a progress bar, streams, and stops", async () => {
    await newPage();
    await page.addInitScript(() => {
      const seen: string[] = [];
      Object.assign(window, { seen });
      document.addEventListener("DOMContentLoaded", () => {
        const facts = document.getElementById("model-facts")!;
        new MutationObserver(() => seen.push(facts.textContent)).observe(facts, { childList: true });
      });
    });
    await page.goto(server.url);
    await status(/^Ready\.$/);
    const seen = await page.evaluate(() => (window as unknown as { seen: string[] }).seen);
    expect(seen).toContainEqual(expect.stringMatching(/^Loading weights · [\d.]+ \w+ of [\d.]+ \w+/));
    expect(await textOf("model-name")).toBe(BUILT_IN);
    expect(await textOf("model-facts")).toMatch(/^llama · [\d.]+ (million|thousand) parameters · context \d+$/);
    expect(await at("progress").getAttribute("value")).toBe("1");

    await at("prompt").fill(PROMPT);
    await set({ temperature: 0, maxTokens: 400 });
    await at("generate").click();
    const [once, twice] = await grow(2, "stop");
    await status(/^Stopped after \d+ tokens?\.$/);

    const text = await textOf("output");
    expect(text.startsWith(PROMPT)).toBe(true);
    expect(once).toBeGreaterThan(PROMPT.length);
    expect(text.length).toBeGreaterThanOrEqual(twice!);
    expect(await textOf("ttft")).toMatch(/^[\d.]+ m?s$/);
    expect(await textOf("rate")).toMatch(/^[\d.]+ tokens\/s$/);
    expect(await textOf("stats")).toMatch(/GPU.*Weights.*GPU memory.*Pages in use.*Dispatches a step\d/);
    expect(await at("generate").isEnabled()).toBe(true);
    expect(await at("stop").isEnabled()).toBe(false);
  });

  it("writes the same text from the same seed, another from another, and ends at the length asked for", async () => {
    await open();
    const warm = { temperature: 1, maxTokens: 12 };
    const first = await generate(PROMPT, { ...warm, seed: 7 });
    await status(/^Finished: 12 tokens, the most allowed\.$/);
    expect(await generate(PROMPT, { ...warm, seed: 7 })).toBe(first);
    expect(await generate(PROMPT, { ...warm, seed: 8 })).not.toBe(first);
  });

  it("goes by keyboard: Ctrl+Enter generates, Esc stops, and focus is never lost", async () => {
    await open();
    await set({ temperature: 0, maxTokens: 400 });
    await at("prompt").fill(PROMPT);
    await at("prompt").press("Control+Enter");
    await grow(1, "Escape");
    await status(/^Stopped/);
    await at("generate").focus();
    await page.keyboard.press("Enter");
    await grow(1, "focused");
    await status(/^Stopped/);
    expect(await page.evaluate(() => document.activeElement?.id)).toBe("generate");
  });

  it("takes an example for a prompt, and asks for one where there is none", async () => {
    await open();
    await at("generate").click();
    expect(await at("prompt").evaluate((field: HTMLTextAreaElement) => field.validity.valueMissing)).toBe(true);
    const example = page.locator(".example").first();
    await example.click();
    expect(await at("prompt").inputValue()).toBe(await example.textContent());
  });

  it("shows a prompt that is too long as an error, and keeps it", async () => {
    await open();
    const long = "the little fox and the big bear ".repeat(400);
    await at("prompt").fill(long);
    await at("generate").click();
    await at("error").waitFor();
    expect(await textOf("error")).toMatch(/^\s*This is longer than the model can hold\.\s*\d+ tokens do not fit/);
    expect(await at("prompt").inputValue()).toBe(long);
    expect(await generate()).toContain(PROMPT);
    expect(await at("error").isVisible()).toBe(false);
  });
});

describe("other models", () => {
  async function loadAddress(address: string): Promise<void> {
    if (!(await at("model-url").isVisible())) await page.getByRole("button", { name: "Other models" }).click();
    await at("model-url").fill(address);
    await at("load-url").click();
  }

  it("loads a folder by its address, from another origin", async () => {
    await open();
    const elsewhere = new URL("model/", server.url.replace("localhost", "127.0.0.1"));
    await loadAddress(elsewhere.href);
    await at("model-name")
      .filter({ hasText: /^model$/ })
      .waitFor();
    await status(/^Ready\.$/);
    expect(await generate()).toContain(PROMPT);
  });

  it("says plainly that an address is wrong, and goes on with the former model", async () => {
    await open();
    const before = await generate();
    await loadAddress("nonsense");
    expect(await textOf("load-error")).toMatch(/“nonsense” is neither a Hub id/);
    expect(await textOf("model-name")).toBe(BUILT_IN);

    await loadAddress(new URL("no-such-model/", server.url).href);
    await status(/^Ready, back at Little storyteller\.$/);
    expect(await textOf("load-error")).toMatch(/The model's files could not be read\..*config\.json/s);
    expect(await textOf("output")).toBe(before);
    expect(await at("prompt").inputValue()).toBe(PROMPT);
    expect(await generate()).toContain(PROMPT);
    expect(await at("load-error").isVisible()).toBe(false);
  });

  it("loads while a text is written: the text stops first", async () => {
    await open();
    await at("prompt").fill(PROMPT);
    await set({ temperature: 0, maxTokens: 400 });
    await at("generate").click();
    const [length] = await grow(1);
    await loadAddress("./model/");
    await at("model-name")
      .filter({ hasText: /^model$/ })
      .waitFor();
    await status(/^Ready\.$/);
    expect((await textOf("output")).length).toBeGreaterThanOrEqual(length!);
    expect(await at("error").isVisible()).toBe(false);
  });

  /** Drops the built-in model's files; `chatTemplate` is put into its tokenizer_config.json. */
  async function dropFiles(chatTemplate?: string): Promise<void> {
    await page.evaluate(async (template) => {
      const transfer = new DataTransfer();
      for (const name of ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"]) {
        let body = await (await fetch(`./model/${name}`)).blob();
        if (name === "tokenizer_config.json" && template !== undefined) {
          const config = JSON.parse(await body.text()) as object;
          body = new Blob([JSON.stringify({ ...config, chat_template: template })]);
        }
        transfer.items.add(new File([body], name));
      }
      document.body.dispatchEvent(new DragEvent("dragenter", { dataTransfer: transfer, bubbles: true }));
      document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
    }, chatTemplate);
    await at("model-name").filter({ hasText: "Dropped files" }).waitFor();
    await status(/^Ready\.$/);
  }

  it("loads files that are dropped on the page", async () => {
    await open();
    await dropFiles();
    expect(await page.locator("#drop-veil").isVisible()).toBe(false);
    expect(await generate()).toContain(PROMPT);
  });

  it("chats with a model that has a chat template, and can still continue a text with it", async () => {
    await open();
    expect(await at("mode-chat").isVisible()).toBe(false);
    await dropFiles("{% for message in messages %}{{ message.content }} {% endfor %}");
    expect(await at("mode-chat").isChecked()).toBe(true);
    await generate(PROMPT, { temperature: 0 });
    expect(await at("prompt").inputValue()).toBe("");
    const both = await generate("The big bear was happy and", { temperature: 0 });
    expect(await page.locator(".said.user").allTextContents()).toEqual([PROMPT, "The big bear was happy and"]);
    expect(await page.locator(".said.assistant").count()).toBe(2);

    await at("mode-story").check();
    expect(await textOf("output")).toBe(both);
    expect(await generate(PROMPT, { temperature: 0 })).toMatch(new RegExp(`^${PROMPT}`));
    expect(await page.locator(".said").count()).toBe(0);
  });

  it("says what is missing in a drop", async () => {
    await open();
    await page.evaluate(() => {
      const transfer = new DataTransfer();
      transfer.items.add(new File(["hello"], "holiday.txt"));
      document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
    });
    await status(/^Ready, back at/);
    expect(await textOf("load-error")).toMatch(/config\.json/);
  });

  it("loads a folder chosen through the file field", async () => {
    await open();
    await at("folder-input").setInputFiles(join(repoRoot, "demo/public/model"));
    await at("model-name")
      .filter({ hasText: /^model$/ })
      .waitFor();
    await status(/^Ready\.$/);
    expect(await generate()).toContain(PROMPT);
  });

  it("cancels a load, and loads again when asked", async () => {
    await newPage();
    await page.route("**/model.safetensors", () => {}); // never answered
    await page.goto(server.url);
    await at("cancel-load").click();
    await status(/^Loading cancelled\. No model is loaded\.$/);
    expect(await at("load-error").isVisible()).toBe(false);
    expect(await at("generate").isEnabled()).toBe(false);
    await page.unrouteAll({ behavior: "ignoreErrors" });
    await at("load-built-in").click();
    await status(/^Ready\.$/);
    expect(await generate()).toContain(PROMPT);
  });
});

describe("where it must not fail", () => {
  it("keeps the text when the device is lost, and loads the model again when asked", async () => {
    await newPage();
    await page.addInitScript(() => {
      const { prototype } = GPUAdapter;
      type Request = (descriptor?: GPUDeviceDescriptor) => Promise<GPUDevice>;
      const held = Object.getOwnPropertyDescriptor(prototype, "requestDevice") as TypedPropertyDescriptor<Request>;
      prototype.requestDevice = async function (descriptor) {
        const device = await held.value!.call(this, descriptor);
        document.addEventListener("lose", () => device.destroy());
        return device;
      };
    });
    await page.goto(server.url);
    await status(/^Ready\.$/);
    await at("prompt").fill(PROMPT);
    await set({ temperature: 0, maxTokens: 400 });
    await at("generate").click();
    const [length] = await grow(1, "lose");
    await at("error").waitFor();
    expect(await textOf("error")).toMatch(/The graphics card stopped answering\./);
    expect((await textOf("output")).length).toBeGreaterThanOrEqual(length!);
    await page.getByRole("button", { name: "Load the model again" }).click();
    await status(/^Ready\.$/);
    expect((await textOf("output")).length).toBeGreaterThanOrEqual(length!);
    expect(await at("error").isVisible()).toBe(false);
    expect(await generate()).toContain(PROMPT);
  });

  it("says in plain words that there is no WebGPU, and what to do", async () => {
    await newPage();
    await page.addInitScript(() => Reflect.deleteProperty(Navigator.prototype, "gpu"));
    await page.goto(server.url);
    await at("no-webgpu").waitFor();
    const words = await textOf("no-webgpu");
    expect(words).toMatch(/This browser offers no WebGPU/);
    for (const name of ["Chrome", "Safari", "Firefox"]) expect(words).toContain(name);
    expect(await at("no-webgpu").locator(".own").count()).toBe(1);
    expect(await at("generate").isVisible()).toBe(false);
  });

  it("says so where there is WebGPU but no adapter", async () => {
    await newPage();
    await page.addInitScript(() => {
      Object.defineProperty(GPU.prototype, "requestAdapter", { value: () => Promise.resolve(null) });
    });
    await page.goto(server.url);
    await at("no-webgpu").waitFor();
    expect(await textOf("no-webgpu")).toMatch(/found no GPU/);
  });

  it("fits a window of 360 pixels", async () => {
    await newPage({ width: 360, height: 740 });
    await page.goto(server.url);
    await status(/^Ready\.$/);
    await page.getByRole("button", { name: "Other models" }).click();
    await generate();
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(360);
  });
});
