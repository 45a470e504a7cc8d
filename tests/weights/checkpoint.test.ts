import { describe, expect, it } from "vitest";
import type { ByteFile } from "../../src/base/bytes.ts";
import { AbortError } from "../../src/base/errors.ts";
import { openCheckpoint } from "../../src/weights/checkpoint.ts";
import { encodeSafetensors } from "../../src/weights/write.ts";
import { shard } from "../hostile/safetensors.ts";
import { memoryOpener, memoryRepo } from "../support/memory.ts";

const INDEX = "model.safetensors.index.json";

function index(weightMap: Record<string, string>, totalSize?: number): string {
  return JSON.stringify({ metadata: totalSize === undefined ? {} : { total_size: totalSize }, weight_map: weightMap });
}

describe("openCheckpoint", () => {
  it("opens one file", async () => {
    const checkpoint = await openCheckpoint(memoryOpener({ "model.safetensors": shard("a", "b") }));
    expect([...checkpoint.tensors.keys()]).toEqual(["a", "b"]);
    expect(checkpoint.files.map((file) => file.name)).toEqual(["model.safetensors"]);
    expect(checkpoint.bytes).toBe(8);
  });

  it("opens shards, in folders below as well, and gives each tensor its file", async () => {
    const tensor = { name: "a", dtype: "U8" as const, shape: [3], data: Uint8Array.of(7, 8, 9) };
    const repo = memoryRepo({
      [INDEX]: index({ b: "x/2.safetensors", a: "1.safetensors", c: "x/2.safetensors" }, 11),
      "1.safetensors": encodeSafetensors([tensor]),
      "x/2.safetensors": shard("b", "c"),
    });
    const checkpoint = await openCheckpoint((name) => repo.open(name));
    expect(checkpoint.files.map((file) => file.name)).toEqual(["x/2.safetensors", "1.safetensors"]);
    expect(checkpoint.bytes).toBe(11);
    const { file, begin, end } = checkpoint.tensors.get("a")!;
    expect(file.name).toBe("1.safetensors");
    expect(await file.read(begin, end)).toEqual(tensor.data);
  });

  it("takes the index where both are there", async () => {
    const files = { "model.safetensors": shard("old"), "1.safetensors": shard("new") };
    const checkpoint = await openCheckpoint(memoryOpener({ ...files, [INDEX]: index({ new: "1.safetensors" }) }));
    expect([...checkpoint.tensors.keys()]).toEqual(["new"]);
  });

  it("takes tensors that the index does not name, outside total_size, as transformers does", async () => {
    const files = { "1.safetensors": shard("a", "extra"), [INDEX]: index({ a: "1.safetensors" }, 4) };
    const checkpoint = await openCheckpoint(memoryOpener(files));
    expect([...checkpoint.tensors.keys()]).toEqual(["a", "extra"]);
    expect(checkpoint.bytes).toBe(8);
  });

  it("takes a total_size written as a float, unknown fields and names like __proto__", async () => {
    const text = '{"x":[1],"metadata":{"total_size":4.0,"y":null},"weight_map":{"__proto__":"1.safetensors"}}\n';
    const checkpoint = await openCheckpoint(memoryOpener({ "1.safetensors": shard("__proto__"), [INDEX]: text }));
    expect([...checkpoint.tensors.keys()]).toEqual(["__proto__"]);
  });

  it("opens 100 shards, at most 8 at a time", async () => {
    const names = Array.from({ length: 100 }, (_, i) => `t${i}`);
    const files: Record<string, Uint8Array | string> = Object.fromEntries(
      names.map((n) => [`${n}.safetensors`, shard(n)]),
    );
    files[INDEX] = index(Object.fromEntries(names.map((name) => [name, `${name}.safetensors`])), 400);
    const repo = memoryRepo(files);
    let now = 0;
    let most = 0;
    const checkpoint = await openCheckpoint(async (name) => {
      most = Math.max(most, ++now);
      await new Promise((done) => setTimeout(done));
      now--;
      return repo.open(name);
    });
    expect(most).toBe(8);
    expect([...checkpoint.tensors.keys()]).toEqual(names);
  });

  it("stops the other shards after the first failure", async () => {
    const names = Array.from({ length: 50 }, (_, i) => `${i}.safetensors`);
    const text = index(Object.fromEntries(names.map((name) => [name, name])));
    const opened: string[] = [];
    const signals: AbortSignal[] = [];
    const open = async (name: string, signal?: AbortSignal): Promise<ByteFile | null> => {
      opened.push(name);
      if (name === INDEX) return memoryRepo({ [INDEX]: text }).open(INDEX);
      signals.push(signal!);
      if (name === "3.safetensors") return null;
      return new Promise((_, reject) => signal!.addEventListener("abort", () => reject(new Error("aborted"))));
    };
    await expect(openCheckpoint(open)).rejects.toThrow(/^3\.safetensors: /);
    expect(opened).toHaveLength(1 + 8);
    expect(signals.every((signal) => signal.aborted)).toBe(true);
  });

  it("passes the caller's abort on", async () => {
    const abort = new AbortController();
    const files = { "1.safetensors": shard("a"), "2.safetensors": shard("b") };
    const repo = memoryRepo({ ...files, [INDEX]: index({ a: "1.safetensors", b: "2.safetensors" }) });
    const open = async (name: string, signal?: AbortSignal): Promise<ByteFile | null> => {
      if (name !== INDEX) {
        abort.abort("enough");
        expect(signal?.aborted).toBe(true);
      }
      if (signal?.aborted) throw new AbortError("Opening", signal.reason);
      return repo.open(name);
    };
    await expect(openCheckpoint(open, abort.signal)).rejects.toMatchObject({ code: "abort", cause: "enough" });
  });
});
