/** What all sources of bytes share: checks of ranges and names, and `read` in terms of `stream`. */
import { invariant } from "../base/assert.ts";
import type { ByteFile } from "../base/bytes.ts";
import { SourceError } from "../base/errors.ts";

/** Bytes asked of a disk at a time. */
export const CHUNK_BYTES = 1 << 20;

export function checkRange(file: Pick<ByteFile, "name" | "size">, begin: number, end: number): void {
  const whole = Number.isSafeInteger(begin) && Number.isSafeInteger(end);
  invariant(whole && 0 <= begin && begin <= end && end <= file.size, `no bytes ${begin} to ${end} in ${file.name}`);
}

/** The bytes [begin, end) of a file in one array. */
export async function readAll(file: ByteFile, begin: number, end: number, signal?: AbortSignal): Promise<Uint8Array> {
  checkRange(file, begin, end);
  const bytes = new Uint8Array(end - begin);
  let at = 0;
  for await (const chunk of file.stream(begin, end, signal)) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  invariant(at === bytes.length, `${file.name} streamed ${at} bytes of ${bytes.length}`);
  return bytes;
}

/**
 * The parts of a name such as "config.json" or "shards/1.safetensors".
 * @throws SourceError for a name that could lead out of the folder.
 */
export function partsOf(name: string): string[] {
  const parts = name.split("/");
  if (parts.some((part) => part === "" || part === "." || part === "..") || /[\\\u0000]/.test(name)) {
    throw new SourceError(JSON.stringify(name), "this is not a file inside the model's folder; use a relative path.");
  }
  return parts;
}
