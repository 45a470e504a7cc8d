/** A folder on disk, in Node. Node's modules are loaded when one is opened, so that no bundle for browsers needs them. */
import type { Stats } from "node:fs";
import type * as FileSystem from "node:fs/promises";
import type { ByteFile, Repo } from "../base/bytes.ts";
import { SourceError } from "../base/errors.ts";
import { throwIfAborted } from "./abort.ts";
import { CHUNK_BYTES, checkRange, partsOf, readAll } from "./range.ts";

type Fs = typeof FileSystem;

/**
 * Opens a folder by its path (relative to the working directory) or `file:` URL.
 * @throws SourceError if there is no such folder.
 */
export async function openFolder(source: string): Promise<Repo> {
  const fs = await import(/* @vite-ignore */ "node:fs/promises");
  const paths = await import(/* @vite-ignore */ "node:path");
  const urls = await import(/* @vite-ignore */ "node:url");
  const path = source.startsWith("file:") ? urls.fileURLToPath(source) : paths.resolve(source);
  const stat = await statOf(fs, path, source);
  if (!stat) throw new SourceError(source, "there is no such folder. Check the path.");
  if (!stat.isDirectory()) throw new SourceError(source, "this is no folder. Give the folder that holds config.json.");
  return new FolderRepo(fs, source, path);
}

async function statOf(fs: Fs, path: string, name: string): Promise<Stats | null> {
  try {
    return await fs.stat(path);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") return null;
    throw new SourceError(name, `it cannot be read (${message}). Check its permissions.`, { cause: error });
  }
}

class FolderRepo implements Repo {
  readonly label: string;
  readonly #fs: Fs;
  readonly #path: string;

  constructor(fs: Fs, label: string, path: string) {
    this.label = label;
    this.#fs = fs;
    this.#path = path;
  }

  async open(name: string, signal?: AbortSignal): Promise<ByteFile | null> {
    throwIfAborted(`Reading ${name}`, signal);
    const path = [this.#path, ...partsOf(name)].join("/");
    const stat = await statOf(this.#fs, path, name);
    return stat?.isFile() ? new DiskFile(this.#fs, name, path, stat.size, stat.mtimeMs) : null;
  }
}

/** Opened anew for every read, since a ByteFile has no end at which to close it. */
class DiskFile implements ByteFile {
  readonly name: string;
  readonly size: number;
  readonly #fs: Fs;
  readonly #path: string;
  readonly #modifiedMs: number;

  constructor(fs: Fs, name: string, path: string, size: number, modifiedMs: number) {
    this.name = name;
    this.size = size;
    this.#fs = fs;
    this.#path = path;
    this.#modifiedMs = modifiedMs;
  }

  async read(begin: number, end: number, signal?: AbortSignal): Promise<Uint8Array> {
    return readAll(this, begin, end, signal);
  }

  async *stream(begin: number, end: number, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
    checkRange(this, begin, end);
    const what = `Reading ${this.name}`;
    throwIfAborted(what, signal);
    const handle = await this.#open();
    try {
      for (let at = begin; at < end;) {
        const chunk = await this.#readChunk(handle, at, Math.min(CHUNK_BYTES, end - at));
        throwIfAborted(what, signal);
        at += chunk.length;
        yield chunk;
      }
    } finally {
      await handle.close();
    }
  }

  async #open(): Promise<FileSystem.FileHandle> {
    const handle = await this.#fs.open(this.#path, "r").catch((error: Error) => {
      throw new SourceError(this.name, `it cannot be opened (${error.message}). Load again.`, { cause: error });
    });
    const { size, mtimeMs } = await handle.stat();
    if (size === this.size && mtimeMs === this.#modifiedMs) return handle;
    await handle.close();
    throw new SourceError(this.name, "the file changed while loading. Load again.");
  }

  async #readChunk(handle: FileSystem.FileHandle, at: number, length: number): Promise<Uint8Array> {
    const buffer = new Uint8Array(length);
    const { bytesRead } = await handle.read(buffer, 0, length, at).catch((error: Error) => {
      throw new SourceError(this.name, `byte ${at} cannot be read (${error.message}). Check the disk.`, {
        cause: error,
      });
    });
    if (bytesRead === 0) throw new SourceError(this.name, "the file was cut while loading. Load again.");
    return buffer.subarray(0, bytesRead);
  }
}
