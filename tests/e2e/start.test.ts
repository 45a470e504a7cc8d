import { spawn, type ChildProcess } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterEach, describe, expect, it } from "vitest";
import { repoRoot } from "../support/shared.ts";

let child: ChildProcess | undefined;

afterEach(() => {
  child?.kill("SIGKILL");
});

/** Runs scripts/start.mjs and resolves with the address that it prints, by number: some systems know no "localhost". */
async function start(...args: string[]): Promise<string> {
  const env = { ...process.env, PORT: "" };
  const process_ = spawn(process.execPath, [join(repoRoot, "scripts/start.mjs"), ...args], {
    env,
    stdio: ["ignore", "pipe", "inherit"],
  });
  child = process_;
  for await (const line of createInterface({ input: process_.stdout })) {
    const url = /^Tessera demo: (http:\/\/localhost:\d+\/)$/.exec(line)?.[1];
    if (url !== undefined) return url.replace("localhost", "127.0.0.1");
  }
  throw new Error("npm start ended without an address");
}

describe("npm start", () => {
  it("prints its address, and serves the page there until it is told to end", async () => {
    const url = await start("--port", "0");
    const page = await fetch(url);
    expect([page.status, page.headers.get("content-type")]).toEqual([200, "text/html"]);
    expect(await page.text()).toContain('<script type="module"');

    const ended = new Promise((done) => child?.once("exit", done));
    child?.kill("SIGINT");
    expect(await ended).toBe(0);
  });

  it("serves the sources, and 404 for what is missing", async () => {
    const url = await start("--port", "0");
    const status = async (path: string) => (await fetch(new URL(path, url))).status;
    expect(await status("/model/no-such-file.json")).toBe(404);
    expect(await status("/no-such-page")).toBe(404);
    expect(await status("/main.ts")).toBe(200);
    expect(await status("/@fs/etc/hostname")).toBe(403);
  });
});
