/** A small safetensors writer: for the command line's `logits --out`, and for tests that cut checkpoints into shards. */
import { ArgumentError } from "../base/errors.ts";
import { bitsOf, byteLength, type Dtype } from "./dtype.ts";
import { hasLoneSurrogate, quote } from "./json.ts";

export interface TensorData {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** Little-endian elements, row-major. */
  readonly data: Uint8Array;
}

/**
 * A whole file in memory. As the reference does, it puts wider dtypes first and pads the header to 8 bytes, so that
 * every tensor is aligned to its own element; tensors of one width keep the given order.
 * @throws ArgumentError for a name given twice or not writable, or data whose length is not that of dtype and shape.
 */
export function encodeSafetensors(
  tensors: readonly TensorData[],
  metadata?: Readonly<Record<string, string>>,
): Uint8Array {
  const ordered = [...tensors].sort((a, b) => bitsOf(b.dtype) - bitsOf(a.dtype));
  const names = new Set(["__metadata__"]);
  const entries = metadata ? [`"__metadata__":${JSON.stringify(metadata)}`] : [];
  let offset = 0;
  for (const { name, dtype, shape, data } of ordered) {
    if (names.has(name)) throw new ArgumentError(`The tensor name ${quote(name)} is taken; give each its own.`);
    if (hasLoneSurrogate(name)) throw new ArgumentError(`The tensor name ${quote(name)} cannot be written as UTF-8.`);
    names.add(name);
    const bytes = byteLength(dtype, shape);
    if (bytes !== data.length) {
      const size = bytes === null ? "no whole number of bytes" : `${bytes} bytes`;
      throw new ArgumentError(
        `Tensor ${quote(name)}: ${dtype} [${shape.join(", ")}] takes ${size}, not ${data.length}.`,
      );
    }
    const fields = { dtype, shape, data_offsets: [offset, offset + bytes] };
    entries.push(`${JSON.stringify(name)}:${JSON.stringify(fields)}`);
    offset += bytes;
  }
  const json = new TextEncoder().encode(`{${entries.join(",")}}`);
  const headerBytes = Math.ceil(json.length / 8) * 8;
  const file = new Uint8Array(8 + headerBytes + offset).fill(0x20, 8, 8 + headerBytes);
  new DataView(file.buffer).setBigUint64(0, BigInt(headerBytes), true);
  file.set(json, 8);
  let at = 8 + headerBytes;
  for (const { data } of ordered) {
    file.set(data, at);
    at += data.length;
  }
  return file;
}
