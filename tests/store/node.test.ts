import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { pathToFileURL } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { AbortError, SourceError } from "../../src/base/errors.ts";
import { openRepo } from "../../src/store/repo.ts";

const SIZE = 2_500_000; // more than two chunks
const bytes = Uint8Array.from({ length: SIZE }, (_, i) => (i * 7 + (i >> 8)) % 256);
let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "tessera store é-"));
  mkdirSync(join(folder, "shards"));
  for (const name of ["x.bin", "shards/1.bin"]) writeFileSync(join(folder, name), bytes);
  writeFileSync(join(folder, "empty"), "");
});
afterEach(() => rmSync(folder, { recursive: true }));

describe("a folder on disk", () => {
  it.each([
    ["an absolute path", () => folder],
    ["one with a trailing slash", () => `${folder}/`],
    ["a relative path", () => `./${relative(process.cwd(), folder)}`],
    ["a file: URL", () => pathToFileURL(folder).href],
  ])("by %s", async (_, source) => {
    const repo = await openRepo(source());
    expect(repo.label).toBe(source());
    for (const name of ["x.bin", "shards/1.bin"]) {
      const file = (await repo.open(name))!;
      expect(file).toMatchObject({ name, size: SIZE });
      expect(Buffer.compare(await file.read(0, SIZE), bytes)).toBe(0);
    }
  });

  it("reads any range, in chunks", async () => {
    const file = (await (await openRepo(folder)).open("x.bin"))!;
    for (const [begin, end] of [
      [0, 0],
      [0, 8],
      [SIZE - 1, SIZE],
      [1_000_000, 2_200_000],
    ] as [number, number][]) {
      expect(Buffer.compare(await file.read(begin, end), bytes.subarray(begin, end))).toBe(0);
    }
    const lengths: number[] = [];
    for await (const chunk of file.stream(1, SIZE)) lengths.push(chunk.length);
    expect(lengths).toEqual([1 << 20, 1 << 20, SIZE - 1 - (2 << 20)]);
    await expect(file.read(0, SIZE + 1)).rejects.toThrow(/Tessera bug/);
  });

  it("opens empty files and links", async () => {
    symlinkSync("../x.bin", join(folder, "shards/link"));
    const repo = await openRepo(folder);
    expect(await (await repo.open("empty"))!.read(0, 0)).toEqual(new Uint8Array(0));
    expect((await repo.open("shards/link"))?.size).toBe(SIZE);
  });

  it.each(["none", "none/x.bin", "x.bin/y", "shards"])("has no file %s", async (name) => {
    expect(await (await openRepo(folder)).open(name)).toBeNull();
  });

  it.each(["../x.bin", "shards/../x.bin", "/etc/hostname", "", "a\0b"])("refuses the name %j", async (name) => {
    await expect((await openRepo(folder)).open(name)).rejects.toThrow(SourceError);
  });

  it("says so where there is no folder", async () => {
    await expect(openRepo(join(folder, "none"))).rejects.toThrow(/none: there is no such folder/);
    await expect(openRepo(join(folder, "x.bin"))).rejects.toThrow(/x\.bin: this is no folder/);
  });

  it.each([
    ["grows", (path: string) => appendFileSync(path, "x"), 1],
    ["shrinks", (path: string) => truncateSync(path, 5), 1],
    ["is written anew with the same size", () => {}, 2],
  ])("notices that a file %s while loading", async (_, change, modified) => {
    const path = join(folder, "x.bin");
    utimesSync(path, 1, 1);
    const file = (await (await openRepo(folder)).open("x.bin"))!;
    change(path);
    utimesSync(path, modified, modified);
    await expect(file.read(0, 5)).rejects.toThrow(/x\.bin: the file changed while loading/);
  });

  it("notices that a file is gone, or cut in the middle of reading", async () => {
    const repo = await openRepo(folder);
    const file = (await repo.open("x.bin"))!;
    const reading = (async () => {
      for await (const chunk of file.stream(0, SIZE)) if (chunk.length) truncateSync(join(folder, "x.bin"), 5);
    })();
    await expect(reading).rejects.toThrow(/x\.bin: the file was cut while loading/);
    const shard = (await repo.open("shards/1.bin"))!;
    rmSync(join(folder, "shards"), { recursive: true });
    await expect(shard.read(0, 5)).rejects.toThrow(/shards\/1\.bin: it cannot be opened/);
  });

  it.skipIf(process.platform !== "linux")("leaves no file open (counted on Linux)", async () => {
    const file = (await (await openRepo(folder)).open("x.bin"))!;
    await file.read(0, 10);
    for await (const chunk of file.stream(0, SIZE)) if (chunk.length) break;
    truncateSync(join(folder, "x.bin"), 5);
    await expect(file.read(0, 10)).rejects.toThrow(/changed/);
    const open = readdirSync("/proc/self/fd").map((fd) => {
      try {
        return readlinkSync(`/proc/self/fd/${fd}`);
      } catch {
        return ""; // the listing's own descriptor, gone by now
      }
    });
    expect(open.filter((path) => path.startsWith(folder))).toEqual([]);
  });

  it("aborts", async () => {
    const repo = await openRepo(folder);
    const file = (await repo.open("x.bin"))!;
    await expect(openRepo(folder, { signal: AbortSignal.abort() })).rejects.toBeInstanceOf(AbortError);
    await expect(repo.open("x.bin", AbortSignal.abort())).rejects.toBeInstanceOf(AbortError);
    await expect(file.read(0, 5, AbortSignal.abort())).rejects.toBeInstanceOf(AbortError);
    const abort = new AbortController();
    const reading = (async () => {
      for await (const chunk of file.stream(0, SIZE, abort.signal)) if (chunk.length) abort.abort("enough");
    })();
    await expect(reading).rejects.toMatchObject({ code: "abort", cause: "enough" });
  });
});
