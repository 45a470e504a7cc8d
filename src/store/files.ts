/** Files that a person gave to the page: dropped, chosen one by one, or a picked directory. */
import type { ByteFile, Repo } from "../base/bytes.ts";
import { SourceError } from "../base/errors.ts";
import { abortable, throwIfAborted } from "./abort.ts";
import { checkRange, partsOf, readAll } from "./range.ts";

/** Dropped files, or those of `<input type="file" webkitdirectory>`, which know their path in the chosen folder. */
export class FilesRepo implements Repo {
  readonly label = "dropped files";
  readonly #files: readonly File[];

  constructor(files: readonly File[]) {
    this.#files = files;
  }

  /**
   * The file whose path ends in `name`. Of several, the one nearest to the top of the folder, as checkpoints carry
   * further ones of the same names below (`onnx/`, `1_Pooling/`).
   * @throws SourceError if two are equally near.
   */
  async open(name: string, signal?: AbortSignal): Promise<ByteFile | null> {
    throwIfAborted(`Reading ${name}`, signal);
    const wanted = partsOf(name).join("/");
    let best: File[] = [];
    for (const file of this.#files) {
      const path = pathOf(file);
      if (path !== wanted && !path.endsWith(`/${wanted}`)) continue;
      const nearer = best[0] === undefined ? 1 : depthOf(best[0]) - depthOf(file);
      if (nearer > 0) best = [file];
      else if (nearer === 0) best.push(file);
    }
    const [file, other] = best;
    if (!file) return null;
    if (other) {
      const both = `${pathOf(file)} and ${pathOf(other)}`;
      throw new SourceError(name, `there are two of them among the files (${both}). Give the files of one model only.`);
    }
    return new BlobFile(name, file);
  }
}

function pathOf(file: File): string {
  return file.webkitRelativePath || file.name;
}

function depthOf(file: File): number {
  return pathOf(file).split("/").length;
}

/** A directory from `showDirectoryPicker()`, a dropped one, or one of the origin's private file system. */
export class DirectoryRepo implements Repo {
  readonly label: string;
  readonly #directory: FileSystemDirectoryHandle;

  constructor(directory: FileSystemDirectoryHandle) {
    this.label = directory.name || "picked directory";
    this.#directory = directory;
  }

  async open(name: string, signal?: AbortSignal): Promise<ByteFile | null> {
    throwIfAborted(`Reading ${name}`, signal);
    const parts = partsOf(name);
    const last = parts.pop()!;
    try {
      let directory = this.#directory;
      for (const part of parts) directory = await directory.getDirectoryHandle(part);
      const handle = await directory.getFileHandle(last);
      return new BlobFile(name, await handle.getFile());
    } catch (error) {
      const { name: kind, message } = error as DOMException;
      if (kind === "NotFoundError" || kind === "TypeMismatchError") return null;
      throw new SourceError(name, `the browser did not open it (${message}). Pick the directory again.`, {
        cause: error,
      });
    }
  }
}

/** A file that is a Blob. */
class BlobFile implements ByteFile {
  readonly name: string;
  readonly size: number;
  readonly #blob: Blob;

  constructor(name: string, blob: Blob) {
    this.name = name;
    this.size = blob.size;
    this.#blob = blob;
  }

  async read(begin: number, end: number, signal?: AbortSignal): Promise<Uint8Array> {
    return readAll(this, begin, end, signal);
  }

  async *stream(begin: number, end: number, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
    checkRange(this, begin, end);
    const what = `Reading ${this.name}`;
    throwIfAborted(what, signal);
    const reader = this.#blob.slice(begin, end).stream().getReader();
    let left = end - begin;
    try {
      for (;;) {
        const chunk = await abortable(this.#next(reader), what, signal);
        if (!chunk) break;
        left -= chunk.length;
        yield chunk;
      }
    } finally {
      reader.cancel().catch(() => {});
    }
    if (left !== 0) throw this.#changed(undefined);
  }

  async #next(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<Uint8Array | undefined> {
    try {
      return (await reader.read()).value;
    } catch (error) {
      throw this.#changed(error);
    }
  }

  /** Browsers refuse to read a file that was written to, moved or deleted since it was given. */
  #changed(cause: unknown): SourceError {
    const message = "it could not be read: the file may have changed or moved since it was chosen. Choose it again.";
    return new SourceError(this.name, message, { cause });
  }
}
