import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { SafetensorsError } from "../../src/base/errors.ts";
import { byteLength } from "../../src/weights/dtype.ts";
import { readHeader, type TensorInfo } from "../../src/weights/safetensors.ts";
import { encodeSafetensors } from "../../src/weights/write.ts";
import { memoryFile } from "../support/memory.ts";

/** What the reader makes of a file: its tensors, or the message with which it refused. Anything else thrown is a bug. */
async function read(bytes: Uint8Array): Promise<Map<string, TensorInfo> | string> {
  try {
    return await readHeader(memoryFile("x", bytes));
  } catch (error) {
    if (error instanceof SafetensorsError) return error.message;
    throw error;
  }
}

/** tools/oracle/safetensors_mutations.py says what the fields are. */
interface Sample {
  bases: string[];
  cases: [base: number, edits: [at: number, remove: number, insert: string][], data: number, keep: 0 | 1, is: string][];
}

function rebuild(sample: Sample, [base, edits, data, keep]: Sample["cases"][number]): Uint8Array {
  const original = Buffer.from(sample.bases[base]!, "base64");
  let header = original.toString("latin1");
  for (const [at, remove, insert] of edits) header = header.slice(0, at) + insert + header.slice(at + remove);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(keep ? original.length : header.length));
  return Buffer.concat([length, Buffer.from(header, "latin1"), Buffer.alloc(data)]);
}

function digest(tensors: Map<string, TensorInfo>): string {
  const lines = [...tensors.values()].map(({ name, dtype, shape }) =>
    Buffer.from(`${name}\0${dtype}\0${shape.join()}`),
  );
  lines.sort((a, b) => a.compare(b));
  const joined = lines.flatMap((line, i) => (i === 0 ? [line] : [Buffer.from("\n"), line]));
  return createHash("sha256").update(Buffer.concat(joined)).digest("hex").slice(0, 8);
}

/** Where this reader is stricter than the reference on purpose; the first two are random mutations' usual way there. */
const STRICTER = /appears twice|must begin with|past 2\^53/;

describe("mutated files against the reference implementation", () => {
  const fixture = new URL("../fixtures/safetensors/mutations.json", import.meta.url);
  const sample = JSON.parse(readFileSync(process.env["TESSERA_MUTATIONS"] ?? fixture, "utf8")) as Sample;

  it("agrees on every case, but for what is refused on purpose", async () => {
    const count = { bothAccept: 0, bothRefuse: 0, stricter: {} as Record<string, number> };
    for (const [i, mutated] of sample.cases.entries()) {
      const expected = mutated[4];
      const got = await read(rebuild(sample, mutated));
      if (typeof got !== "string") {
        expect(digest(got), `case ${i}: accepted`).toBe(expected);
        count.bothAccept++;
      } else if (expected === "") count.bothRefuse++;
      else {
        const rule = STRICTER.exec(got)?.[0];
        expect(rule, `case ${i}: the reference accepts it. ${got}`).toBeDefined();
        count.stricter[rule!] = (count.stricter[rule!] ?? 0) + 1;
      }
    }
    if (process.env["TESSERA_MUTATIONS"]) console.log(count);
    expect(count.bothAccept).toBeGreaterThan(sample.cases.length / 20);
    expect(count.bothRefuse).toBeGreaterThan(sample.cases.length / 20);
  });
});

/** A small generator of 32-bit numbers (mulberry32), for the same mutations on every run. */
function generator(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

/** What must hold of whatever was accepted: the data section is covered once, by ranges of the right size. */
function checkInvariants(file: Uint8Array, tensors: Map<string, TensorInfo>): void {
  let at = 8 + Number(new DataView(file.buffer, file.byteOffset).getBigUint64(0, true));
  for (const [name, tensor] of tensors) {
    expect(tensor.name).toBe(name);
    expect(tensor.begin).toBe(at);
    expect(tensor.end - tensor.begin).toBe(byteLength(tensor.dtype, tensor.shape));
    at = tensor.end;
  }
  expect(at).toBe(file.length);
}

describe("random bytes in a header", () => {
  const valid = encodeSafetensors(
    [
      { name: "a", dtype: "F32", shape: [2, 2], data: new Uint8Array(16) },
      { name: "b.c", dtype: "BF16", shape: [5], data: new Uint8Array(10) },
      { name: "d", dtype: "U8", shape: [0, 7], data: new Uint8Array(0) },
    ],
    { format: "pt" },
  );
  const headerEnd = valid.length - 26;

  it("whatever is accepted covers the file exactly", async () => {
    const below = generator(7);
    let accepted = 0;
    for (let i = 0; i < 4000; i++) {
      const file = valid.slice();
      const edits = 1 + below(3);
      // Half of the new bytes are taken from the header itself, so that much stays JSON.
      for (let k = 0; k < edits; k++) {
        file[below(headerEnd)] = below(2) ? below(256) : valid[8 + below(headerEnd - 8)]!;
      }
      const got = await read(file);
      if (typeof got === "string") continue;
      accepted++;
      checkInvariants(file, got);
    }
    expect(accepted).toBeGreaterThan(100);
  });
});
