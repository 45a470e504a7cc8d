import { describe, expect, it } from "vitest";
import { ArgumentError } from "../../src/base/errors.ts";
import { readHeader } from "../../src/weights/safetensors.ts";
import { encodeSafetensors, type TensorData } from "../../src/weights/write.ts";
import { memoryFile } from "../support/memory.ts";

function tensor(name: string, dtype: TensorData["dtype"], shape: number[], bytes: number[]): TensorData {
  return { name, dtype, shape, data: Uint8Array.from(bytes) };
}

describe("encodeSafetensors", () => {
  const tensors = [
    tensor("bytes", "U8", [1], [1]),
    tensor("float", "F32", [1], [4, 5, 6, 7]),
    tensor("none", "F16", [0, 2], []),
    tensor("scalar", "I64", [], [8, 9, 10, 11, 12, 13, 14, 15]),
    tensor('__proto__ "é"\n', "F4", [2], [16]),
  ];

  it("writes what the reader reads, byte for byte", async () => {
    const file = memoryFile("x", encodeSafetensors(tensors, { format: "pt", note: 'a "b"' }));
    const read = await readHeader(file);
    expect(read.size).toBe(tensors.length);
    for (const { name, dtype, shape, data } of tensors) {
      const info = read.get(name)!;
      expect(info).toMatchObject({ dtype, shape });
      expect(await file.read(info.begin, info.end)).toEqual(data);
    }
  });

  it("aligns every tensor to its element", async () => {
    for (const { begin, dtype } of (await readHeader(memoryFile("x", encodeSafetensors(tensors)))).values()) {
      const bytes = { I64: 8, F32: 4, F16: 2 }[dtype as string] ?? 1;
      expect(begin % bytes).toBe(0);
    }
  });

  it("writes no tensors", async () => {
    expect((await readHeader(memoryFile("x", encodeSafetensors([])))).size).toBe(0);
  });

  it.each([
    ["too few bytes", [tensor("a", "F32", [2], [0, 0, 0, 0])]],
    ["too many bytes", [tensor("a", "F32", [], [0, 0, 0, 0, 0])]],
    ["half a byte", [tensor("a", "F4", [1], [0])]],
    ["one name twice", [tensor("a", "U8", [1], [0]), tensor("a", "U8", [1], [0])]],
    ["the metadata's name", [tensor("__metadata__", "U8", [1], [0])]],
    ["a name that is no text", [tensor("\ud800", "U8", [1], [0])]],
    ["a negative dimension", [tensor("a", "U8", [-1, -1], [0])]],
    ["a dimension that is no whole number", [tensor("a", "U8", [0.5, 2], [0])]],
  ])("refuses %s", (_, list) => {
    expect(() => encodeSafetensors(list)).toThrow(ArgumentError);
  });
});
