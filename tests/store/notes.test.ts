import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { openNotes } from "../../src/store/notes.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "tessera-notes-"));
  vi.stubEnv("XDG_CACHE_HOME", folder);
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true });
});

describe("notes in Node", () => {
  it("are none at first, and then what was written", async () => {
    expect(await openNotes().read("a")).toBe(null);
    await openNotes().write("a", "1");
    await openNotes().write("b|c", "2");
    expect([await openNotes().read("a"), await openNotes().read("b|c")]).toEqual(["1", "2"]);
    expect(await readdir(join(folder, "tessera"))).toEqual(["notes.json"]);
  });

  it.each(["", "{", "[1]", "null", '{"a": 5}'])("are none in a file of %j", async (text) => {
    await openNotes().write("a", "1");
    await writeFile(join(folder, "tessera/notes.json"), text);
    expect(await openNotes().read("a")).toBe(null);
    await openNotes().write("a", "2");
    expect(await openNotes().read("a")).toBe("2");
  });
});
