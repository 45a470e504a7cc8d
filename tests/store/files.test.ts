import { describe, expect, it } from "vitest";
import { AbortError, SourceError } from "../../src/base/errors.ts";
import { openRepo } from "../../src/store/repo.ts";

const bytes = Uint8Array.from({ length: 200_000 }, (_, i) => (i * 7 + (i >> 8)) % 256);

/** A File as `<input webkitdirectory>` gives it. */
function file(path: string, content: Uint8Array | string = path): File {
  const made = new File([typeof content === "string" ? content : content.slice()], path.split("/").at(-1)!);
  return Object.defineProperty(made, "webkitRelativePath", { value: path.includes("/") ? path : "" });
}

async function textOf(files: File[], name: string): Promise<string | null> {
  const found = await (await openRepo(files)).open(name);
  return found && new TextDecoder().decode(await found.read(0, found.size));
}

describe("dropped files", () => {
  it("finds files by name alone", async () => {
    const files = [file("config.json"), file("model.safetensors")];
    expect(await textOf(files, "config.json")).toBe("config.json");
    expect(await textOf(files, "tokenizer.json")).toBeNull();
    expect(await textOf([], "config.json")).toBeNull();
  });

  it("finds files in the chosen folder", async () => {
    expect(await textOf([file("model/config.json")], "config.json")).toBe("model/config.json");
    expect(await textOf([file("a/b/x.json"), file("a/c/y.json")], "y.json")).toBe("a/c/y.json");
  });

  it.each([0, 1, 2])("prefers the one nearest to the top, wherever it stands in the list (%i)", async (turn) => {
    const files = [file("m/onnx/config.json"), file("m/config.json"), file("m/1_Pooling/config.json")];
    expect(await textOf([...files.slice(turn), ...files.slice(0, turn)], "config.json")).toBe("m/config.json");
  });

  it("finds a name with a folder in it", async () => {
    const files = [file("m/1.safetensors"), file("m/shards/1.safetensors"), file("m/myshards/1.safetensors")];
    expect(await textOf(files, "shards/1.safetensors")).toBe("m/shards/1.safetensors");
  });

  it("does not take a name that only ends alike", async () => {
    expect(await textOf([file("m/tokenizer_config.json"), file("preconfig.json")], "config.json")).toBeNull();
  });

  it("refuses to guess between two", async () => {
    const files = [file("a/config.json"), file("b/config.json")];
    await expect(textOf(files, "config.json")).rejects.toThrow(/a\/config\.json and b\/config\.json/);
    await expect(textOf([file("x.json"), file("x.json")], "x.json")).rejects.toThrow(SourceError);
  });

  it("reads any range", async () => {
    const found = (await (await openRepo([file("m/x.bin", bytes)])).open("x.bin"))!;
    expect(found).toMatchObject({ name: "x.bin", size: bytes.length });
    for (const [begin, end] of [
      [0, bytes.length],
      [0, 0],
      [70_000, 140_001],
    ] as [number, number][]) {
      expect(Buffer.compare(await found.read(begin, end), bytes.subarray(begin, end))).toBe(0);
    }
    await expect(found.read(0, bytes.length + 1)).rejects.toThrow(/Tessera bug/);
  });

  it("aborts", async () => {
    const repo = await openRepo([file("x.bin", bytes)]);
    const found = (await repo.open("x.bin"))!;
    await expect(repo.open("x.bin", AbortSignal.abort())).rejects.toBeInstanceOf(AbortError);
    await expect(found.read(0, 10, AbortSignal.abort())).rejects.toBeInstanceOf(AbortError);
    const abort = new AbortController();
    const reading = (async () => {
      for await (const chunk of found.stream(0, found.size, abort.signal)) if (chunk.length) abort.abort("enough");
    })();
    await expect(reading).rejects.toMatchObject({ code: "abort", cause: "enough" });
  });

  it("says so when the file can no longer be read, or is shorter than it was", async () => {
    const broken = (stream: () => ReadableStream): File =>
      Object.assign(file("x.bin", bytes), { slice: () => ({ stream }) as unknown as Blob });
    const failing = broken(
      () => new ReadableStream({ pull: (c) => c.error(new DOMException("gone", "NotReadableError")) }),
    );
    const short = broken(() => new Blob([bytes.slice(0, 10)]).stream());
    for (const bad of [failing, short]) {
      const found = (await (await openRepo([bad])).open("x.bin"))!;
      await expect(found.read(0, 20)).rejects.toThrow(/x\.bin: it could not be read.*Choose it again/);
    }
  });
});

/** The two methods of a picked directory that are used, over a tree of contents. */
type Tree = { [name: string]: Tree | Uint8Array };

function directory(tree: Tree, name = "picked"): FileSystemDirectoryHandle {
  const find = (key: string, wanted: "file" | "directory"): Tree | Uint8Array => {
    const entry = Object.hasOwn(tree, key) ? tree[key] : undefined;
    if (entry === undefined) throw new DOMException("no such entry", "NotFoundError");
    if (entry instanceof Uint8Array !== (wanted === "file")) throw new DOMException("other kind", "TypeMismatchError");
    return entry;
  };
  return {
    name,
    getDirectoryHandle: async (key: string) => directory(find(key, "directory") as Tree, key),
    getFileHandle: async (key: string) => {
      const content = find(key, "file") as Uint8Array;
      return { getFile: async () => new File([content.slice()], key) };
    },
  } as unknown as FileSystemDirectoryHandle;
}

describe("a picked directory", () => {
  const tree = { "x.bin": bytes, shards: { "1.bin": bytes } };

  it("opens files, below as well", async () => {
    const repo = await openRepo(directory(tree));
    expect(repo.label).toBe("picked");
    for (const name of ["x.bin", "shards/1.bin"]) {
      const found = (await repo.open(name))!;
      expect(found).toMatchObject({ name, size: bytes.length });
      expect(Buffer.compare(await found.read(5, 100_000), bytes.subarray(5, 100_000))).toBe(0);
    }
  });

  it.each(["y.bin", "shards", "x.bin/y", "none/x.bin"])("has no file %s", async (name) => {
    expect(await (await openRepo(directory(tree))).open(name)).toBeNull();
  });

  it("refuses to leave the directory", async () => {
    await expect((await openRepo(directory(tree))).open("../x.bin")).rejects.toThrow(SourceError);
  });

  it("says so when the browser refuses", async () => {
    const refused = { getFileHandle: () => Promise.reject(new DOMException("denied", "NotAllowedError")) };
    const repo = await openRepo(refused as unknown as FileSystemDirectoryHandle);
    await expect(repo.open("x.bin")).rejects.toThrow(/x\.bin: .*denied.*Pick the directory again/);
  });
});
