import { expect, it } from "vitest";
import { openRepo } from "../../src/store/repo.ts";
import { fixtureSource } from "../support/fixtures.ts";

const NAME = "mutations.json";
const folder = fixtureSource("tests/fixtures/safetensors");

async function text(source: Parameters<typeof openRepo>[0]): Promise<string> {
  const file = (await (await openRepo(source)).open(NAME))!;
  return new TextDecoder().decode(await file.read(0, file.size));
}

it("reads a folder by its URL and by a path of the page's server", async () => {
  const expected = await (await fetch(`${folder}/${NAME}`)).text();
  expect(await text(folder)).toBe(expected);
  expect(await text(new URL(folder).pathname)).toBe(expected);
  expect(await (await openRepo(folder)).open("none.json")).toBeNull();
});

it("reads a directory handle and files", async () => {
  const root = await navigator.storage.getDirectory();
  const directory = await root.getDirectoryHandle("store-test", { create: true });
  try {
    const handle = await directory.getFileHandle(NAME, { create: true });
    const writer = await handle.createWritable();
    await writer.write("{}");
    await writer.close();
    expect(await text(directory)).toBe("{}");
    expect(await text([await handle.getFile()])).toBe("{}");
    expect(await (await openRepo(directory)).open("none.json")).toBeNull();
    expect(await (await openRepo(directory)).open(`${NAME}/x`)).toBeNull();
  } finally {
    await root.removeEntry("store-test", { recursive: true });
  }
});

it("says so when a chosen file was changed since", async () => {
  const root = await navigator.storage.getDirectory();
  const handle = await root.getFileHandle("store-test.bin", { create: true });
  try {
    const write = async (content: string): Promise<void> => {
      const writer = await handle.createWritable();
      await writer.write(content);
      await writer.close();
    };
    await write("before");
    const chosen = (await (await openRepo([await handle.getFile()])).open("store-test.bin"))!;
    await write("after, and longer");
    await expect(chosen.read(0, 6)).rejects.toThrow(/Choose it again/);
  } finally {
    await root.removeEntry("store-test.bin");
  }
});
