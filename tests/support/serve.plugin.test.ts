import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createServer, type ViteDevServer } from "vite";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { byteRange, serveFolder } from "./serve.plugin.ts";

let folder: string;
let server: ViteDevServer;
let base: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "tessera-"));
  mkdirSync(join(folder, "open/.hidden"), { recursive: true });
  writeFileSync(join(folder, "open/a b.json"), '{"a":1}');
  writeFileSync(join(folder, "open/.hidden/x"), "x");
  writeFileSync(join(folder, "secret"), "secret");
  mkdirSync(join(folder, "open-too"));
  writeFileSync(join(folder, "open-too/y"), "y");
  server = await createServer({
    root: join(folder, "open"),
    appType: "custom",
    configFile: false,
    logLevel: "silent",
    plugins: [serveFolder("/@files", join(folder, "open"))],
    server: { host: "127.0.0.1", port: 0, watch: null, hmr: false },
  });
  await server.listen();
  const address = server.httpServer?.address();
  base = typeof address === "object" ? `http://127.0.0.1:${address?.port}/@files` : "";
});

afterAll(async () => {
  await server.close();
  rmSync(folder, { recursive: true });
});

describe("serveFolder", () => {
  it("gives a file's bytes as they are", async () => {
    const response = await fetch(`${base}/a%20b.json`);
    expect(await response.text()).toBe('{"a":1}');
    expect(response.headers.get("content-type")).toBe("application/octet-stream");
  });

  it("gives a range, and says what it gave", async () => {
    const response = await fetch(`${base}/a%20b.json`, { headers: { range: "bytes=2-4" } });
    expect([response.status, await response.text()]).toEqual([206, 'a":']);
    expect(response.headers.get("content-range")).toBe("bytes 2-4/7");
    expect((await fetch(`${base}/a%20b.json`, { headers: { range: "bytes=7-" } })).status).toBe(416);
  });

  const refused = [
    "/missing",
    "/",
    "/%2e%2e/secret",
    "/..%2fsecret",
    "/..%2fopen-too%2fy",
    "/.hidden/x",
    "/%00",
    "/%E0%A4%A",
  ];
  it.each(refused)("has nothing at %s", async (path) => {
    expect((await fetch(base + path)).status).toBe(404);
  });
});

describe("byteRange", () => {
  it.each<[string | undefined, number, ReturnType<typeof byteRange>]>([
    [undefined, 10, null],
    ["bytes=0-0", 10, [0, 0]],
    ["bytes=3-", 10, [3, 9]],
    ["bytes=3-99", 10, [3, 9]],
    ["bytes=-4", 10, [6, 9]],
    ["bytes=-40", 10, [0, 9]],
    ["bytes=-", 10, null],
    ["bytes=1-2,4-5", 10, null],
    ["bytes=10-", 10, "invalid"],
    ["bytes=5-4", 10, "invalid"],
  ])("%s of %i bytes", (header, size, expected) => {
    expect(byteRange(header, size)).toEqual(expected);
  });
});
