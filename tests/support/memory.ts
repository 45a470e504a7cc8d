/** Checkpoint files and folders in memory, for tests of what reads them. */
import type { ByteFile, Repo } from "../../src/base/bytes.ts";

/** `size` may claim more than there is, for files too large to make. */
export function memoryFile(name: string, bytes: Uint8Array, size = bytes.length): ByteFile {
  const slice = (begin: number, end: number, signal?: AbortSignal): Uint8Array => {
    signal?.throwIfAborted();
    if (begin < 0 || begin > end || end > bytes.length) throw new Error(`${name}: no bytes ${begin} to ${end}`);
    return bytes.slice(begin, end);
  };
  return {
    name,
    size,
    read: async (begin, end, signal) => slice(begin, end, signal),
    async *stream(begin, end, signal) {
      const chunk = 1000;
      for (let at = begin; at < end; at += chunk) yield slice(at, Math.min(at + chunk, end), signal);
    },
  };
}

/** A folder of files; text is stored as UTF-8. */
export function memoryRepo(files: Readonly<Record<string, Uint8Array | string>>, label = "memory"): Repo {
  const all = new Map(Object.entries(files));
  return {
    label,
    open: async (name) => {
      const content = all.get(name);
      if (content === undefined) return null;
      return memoryFile(name, typeof content === "string" ? new TextEncoder().encode(content) : content);
    },
  };
}

/** What opens a folder's files, as `openCheckpoint` takes it. */
export function memoryOpener(...args: Parameters<typeof memoryRepo>): (name: string) => Promise<ByteFile | null> {
  const repo = memoryRepo(...args);
  return (name) => repo.open(name);
}
