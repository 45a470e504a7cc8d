import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { modelSource, readTextFile } from "../../src/cli/model.ts";
import { ArgumentError } from "../../src/index.ts";

it("takes a plain path that exists for a path", () => {
  // vitest runs in the repository's root
  expect(modelSource("demo/public/model")).toBe("./demo/public/model");
  expect(modelSource("tests")).toBe("./tests");
  for (const as of ["org/name", "./tests", "../x", "/work", "https://host.test/model", "file:///x", "no/such/folder"]) {
    expect(modelSource(as)).toBe(as);
  }
});

it("reads UTF-8 and nothing else", async () => {
  const folder = await mkdtemp(join(tmpdir(), "tessera-text-"));
  const file = join(folder, "text.txt");
  try {
    await writeFile(file, "\ufeffünï\n");
    expect(await readTextFile("text", file)).toBe("ünï\n"); // a byte order mark is none of the text
    await writeFile(file, Buffer.from([0x61, 0xff]));
    await expect(readTextFile("text", file)).rejects.toThrow(ArgumentError);
    await expect(readTextFile("text", file)).rejects.toThrow(/^--text .*text\.txt: it is not UTF-8 text\. Convert it/);
    await expect(readTextFile("messages", folder)).rejects.toThrow(/^--messages .*: it cannot be read \(EISDIR/);
  } finally {
    await rm(folder, { recursive: true });
  }
});
