import { describe, expect, it } from "vitest";
import { SafetensorsError, SourceError } from "../../src/base/errors.ts";
import { openCheckpoint } from "../../src/weights/checkpoint.ts";
import { readHeader } from "../../src/weights/safetensors.ts";
import { malformedFiles, malformedFolders } from "../hostile/safetensors.ts";
import { memoryFile, memoryOpener } from "../support/memory.ts";

async function failure(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => "nothing was thrown",
    (error: unknown) => error,
  );
}

describe("malformed safetensors files", () => {
  it.each(malformedFiles)("$name", async ({ bytes, says, size }) => {
    const error = await failure(readHeader(memoryFile("x.safetensors", bytes, size)));
    expect(error).toBeInstanceOf(SafetensorsError);
    expect((error as SafetensorsError).file).toBe("x.safetensors");
    expect((error as SafetensorsError).message).toMatch(says);
  });
});

describe("malformed folders", () => {
  it.each(malformedFolders)("$name", async ({ files, says, error, file }) => {
    const thrown = await failure(openCheckpoint(memoryOpener(files)));
    expect(thrown).toBeInstanceOf(error === "SourceError" ? SourceError : SafetensorsError);
    expect((thrown as SourceError | SafetensorsError).file).toBe(file);
    expect((thrown as Error).message).toMatch(says);
  });

  it("an index too large to be one", async () => {
    const index = memoryFile("model.safetensors.index.json", new Uint8Array(0), 100_000_001);
    const error = await failure(openCheckpoint(async (name) => (name === index.name ? index : null)));
    expect(error).toBeInstanceOf(SafetensorsError);
    expect((error as Error).message).toMatch(/at most 100000000/);
  });
});
