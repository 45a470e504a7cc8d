import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { AbortError } from "../../src/base/errors.ts";
import { parseHeader, readHeader } from "../../src/weights/safetensors.ts";
import { safetensorsFile } from "../hostile/safetensors.ts";
import { memoryFile } from "../support/memory.ts";
import { sharedPath } from "../support/shared.ts";

const encoder = new TextEncoder();

async function read(header: string, data = 0) {
  return readHeader(memoryFile("x.safetensors", safetensorsFile(header, data)));
}

describe("well-formed files", () => {
  it("a file without tensors", async () => {
    expect((await read("{}")).size).toBe(0);
  });

  it("gives absolute byte ranges, in the order of the data", async () => {
    const header =
      '{"b":{"dtype":"F32","shape":[2],"data_offsets":[6,14]},"a":{"dtype":"BF16","shape":[3,1],"data_offsets":[0,6]}}';
    const base = 8 + header.length;
    expect([...(await read(header, 14)).values()]).toEqual([
      { name: "a", dtype: "BF16", shape: [3, 1], begin: base, end: base + 6 },
      { name: "b", dtype: "F32", shape: [2], begin: base + 6, end: base + 14 },
    ]);
  });

  it("a scalar has an empty shape", async () => {
    const tensors = await read('{"s":{"dtype":"I64","shape":[],"data_offsets":[0,8]}}', 8);
    expect(tensors.get("s")).toMatchObject({ shape: [], dtype: "I64" });
  });

  it("tensors of no elements stand before, between and after others", async () => {
    const empty = (at: number) => `{"dtype":"F16","shape":[0,3],"data_offsets":[${at},${at}]}`;
    const full = (at: number) => `{"dtype":"U8","shape":[2],"data_offsets":[${at},${at + 2}]}`;
    const tensors = await read(`{"z":${empty(4)},"y":${full(2)},"x":${empty(2)},"w":${full(0)},"v":${empty(0)}}`, 4);
    expect([...tensors.keys()]).toEqual(["v", "w", "x", "y", "z"]);
  });

  const dtypes = {
    4: ["F4"],
    6: ["F6_E2M3", "F6_E3M2"],
    8: ["BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"],
    16: ["I16", "U16", "F16", "BF16"],
    32: ["I32", "U32", "F32"],
    64: ["C64", "F64", "I64", "U64"],
  };
  it.each(Object.entries(dtypes))("knows the dtypes of %s bits", async (bits, names) => {
    for (const dtype of names) {
      const header = `{"a":{"dtype":"${dtype}","shape":[8],"data_offsets":[0,${bits}]}}`;
      expect((await read(header, Number(bits))).get("a")).toMatchObject({ dtype, shape: [8] });
    }
  });

  it("packs dtypes of less than a byte", async () => {
    const tensors = await read(
      '{"f":{"dtype":"F4","shape":[3,2],"data_offsets":[0,3]},"g":{"dtype":"F6_E3M2","shape":[4],"data_offsets":[3,6]}}',
      6,
    );
    expect([...tensors.values()].map((t) => t.end - t.begin)).toEqual([3, 3]);
  });

  it.each(["__proto__", "constructor", "", "Ünï😀", "a\u007f", "tab\\t", "\\u00e9\\ud83d\\ude00", '\\"\\\\'])(
    "a tensor called %j",
    async (name) => {
      const tensors = await read(`{"${name}":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, 1);
      expect([...tensors.keys()]).toEqual([JSON.parse(`"${name}"`)]);
    },
  );

  it("white space inside and after the header", async () => {
    const tensors = await read(
      '{ "a" :\n{\t"shape": [ 1 , 2 ],\r\n"dtype":"U8","data_offsets":[0,2]} , "b":' +
        '{"data_offsets":[2,2],"dtype":"U8","shape":[0]}}  \n\t ',
      2,
    );
    expect([...tensors.keys()]).toEqual(["a", "b"]);
  });

  it.each(['{"format":"pt","é":""}', "{}", "null"])("__metadata__ of %s", async (metadata) => {
    const tensor = '"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}';
    expect([...(await read(`{"__metadata__":${metadata},${tensor}}`, 1)).keys()]).toEqual(["a"]);
  });

  it("passes over fields it does not know", async () => {
    const extra = '"x":[1.5e-3,-0,{"y":[[],{}],"z":"\\u0041"},true,false,null],"__proto__":{"__proto__":1}';
    const tensors = await read(`{"a":{${extra},"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, 1);
    expect(tensors.get("a")).toMatchObject({ dtype: "U8", shape: [1] });
  });

  it("offsets past 4 GiB", () => {
    const gib = 2 ** 30;
    const entry = (from: number, to: number) =>
      `{"dtype":"U8","shape":[${(to - from) / 1024},1024],"data_offsets":[${from},${to}]}`;
    const header = encoder.encode(`{"a":${entry(0, 5 * gib)},"b":${entry(5 * gib, 9 * gib)}}`);
    const tensors = parseHeader("x", header, 8 + header.length + 9 * gib);
    expect(tensors.get("b")?.end).toBe(8 + header.length + 9 * gib);
  });

  it("a header of a megabyte with every tensor in it", () => {
    let at = 0;
    const entries = Array.from({ length: 9500 }, (_, i) => {
      const from = at;
      at += 64 * 172 * 4;
      return `"model.layers.${i}.mlp.down_proj.weight":{"dtype":"F32","shape":[64,172],"data_offsets":[${from},${at}]}`;
    });
    const header = encoder.encode(`{${entries.join(",")}}`);
    expect(header.length).toBeGreaterThan(1_000_000);
    expect(parseHeader("x", header, 8 + header.length + at).size).toBe(9500);
  });
});

describe("reading", () => {
  it("reads the length and the header, never the data", async () => {
    const file = memoryFile("x", safetensorsFile('{"a":{"dtype":"U8","shape":[9],"data_offsets":[0,9]}}', 9));
    const ranges: number[][] = [];
    await readHeader({
      ...file,
      read: (begin, end) => {
        ranges.push([begin, end]);
        return file.read(begin, end);
      },
    });
    expect(ranges).toEqual([
      [0, 8],
      [8, file.size - 9],
    ]);
  });

  it("asks for no header that cannot be there", async () => {
    const bytes = new Uint8Array(16).fill(255);
    let reads = 0;
    const file = memoryFile("x", bytes);
    const counting = { ...file, read: (begin: number, end: number) => (reads++, file.read(begin, end)) };
    await expect(readHeader(counting)).rejects.toThrow(/at most 100000000/);
    expect(reads).toBe(1);
  });

  it("lets the file's own errors through", async () => {
    const file = memoryFile("x", new Uint8Array(9));
    const read = () => Promise.reject(new AbortError("Reading"));
    await expect(readHeader({ ...file, read })).rejects.toBeInstanceOf(AbortError);
  });

  const real = sharedPath("models/stories260K");
  it.skipIf(real === null)("a published file (needs the shared data)", async () => {
    for (const [format, dtype] of Object.entries({ f32: "F32", bf16: "BF16" })) {
      const bytes = readFileSync(join(real!, format, "model.safetensors"));
      const tensors = await readHeader(memoryFile("model.safetensors", bytes));
      expect(tensors.get("model.embed_tokens.weight")).toMatchObject({ dtype, shape: [512, 64] });
    }
  });
});
