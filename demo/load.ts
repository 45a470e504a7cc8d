/** Where a model comes from (address, folder, drop), and the one slot that holds the loaded model. */
import { ArgumentError, Engine, type LoadProgress, type ModelSource } from "../src/index.ts";

declare global {
  // Chromium's own; other browsers take the file input and the entries instead.
  interface Window {
    showDirectoryPicker?(options?: { id?: string; mode?: "read" }): Promise<FileSystemDirectoryHandle>;
  }
  interface DataTransferItem {
    getAsFileSystemHandle?(): Promise<FileSystemHandle | null>;
  }
}

/** A source and what the page calls it. */
export interface NamedSource {
  name: string;
  source: ModelSource;
}

export function builtIn(): NamedSource {
  return { name: "Little storyteller", source: new URL("./model/", document.baseURI).href };
}

/**
 * What was typed: a Hub id, the page of a model on the Hub, or the address of a folder, relative ones included.
 * Throws ArgumentError for anything else, before the loaded model is given up.
 */
export function parseAddress(typed: string, base: string): NamedSource {
  const address = typed.trim();
  if (address === "")
    throw new ArgumentError("No address was given. Type a Hub id such as org/name, or a folder's URL.");
  if (/^[\w-][\w.-]*\/[\w.-]+$/.test(address)) return { name: address, source: address };
  if (!/^(https?:\/\/|\.{0,2}\/)/.test(address) || !URL.canParse(address, base)) {
    throw new ArgumentError(
      `“${address}” is neither a Hub id such as org/name nor an address that starts with https://.`,
    );
  }
  const url = new URL(address, base);
  const hubPage = /^\/([\w-][\w.-]*\/[\w.-]+)(\/tree\/main)?\/?$/.exec(url.pathname)?.[1];
  if (hubPage && (url.hostname === "huggingface.co" || url.hostname === "hf.co"))
    return { name: hubPage, source: hubPage };
  const folder = url.pathname.split("/").filter(Boolean).at(-1);
  return { name: folder ?? url.host, source: url.href };
}

/** The folder that a person picks, or null if they change their mind. `input` is the way of browsers without a picker. */
export async function pickFolder(input: HTMLInputElement): Promise<NamedSource | null> {
  if (!window.showDirectoryPicker) {
    input.click();
    return null; // its change event goes on
  }
  try {
    const handle = await window.showDirectoryPicker({ id: "tessera-model", mode: "read" });
    return { name: handle.name, source: handle };
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") return null;
    throw error;
  }
}

/** The files of an `<input webkitdirectory>`: those directly in the folder, not in folders below it. */
export function chosenFiles(input: HTMLInputElement): NamedSource | null {
  const files = [...(input.files ?? [])].filter((file) => file.webkitRelativePath.split("/").length <= 2);
  const [first] = files;
  return first ? { name: first.webkitRelativePath.split("/")[0] || "Chosen files", source: files } : null;
}

/**
 * What was dropped: one folder, or files. Call it within the drop event, where alone the items can be read.
 * Rejects with ArgumentError if there is no file in it.
 */
export async function droppedSource(transfer: DataTransfer): Promise<NamedSource> {
  const items = [...transfer.items]
    .filter((item) => item.kind === "file")
    .map((item) => ({
      handle: item.getAsFileSystemHandle?.() ?? null,
      entry: item.webkitGetAsEntry(),
      file: item.getAsFile(),
    }));
  const files: File[] = [];
  for (const { handle, entry, file } of items) {
    const held = await handle;
    if (held instanceof FileSystemDirectoryHandle) return { name: held.name, source: held };
    if (entry && isDirectory(entry)) return { name: entry.name, source: await filesIn(entry) };
    if (file) files.push(file);
  }
  if (files.length === 0) {
    throw new ArgumentError("No file was dropped. Drop the folder that holds config.json, or the files in it.");
  }
  return { name: "Dropped files", source: files };
}

const isDirectory = (entry: FileSystemEntry): entry is FileSystemDirectoryEntry => entry.isDirectory;
const isFile = (entry: FileSystemEntry): entry is FileSystemFileEntry => entry.isFile;

async function filesIn(directory: FileSystemDirectoryEntry): Promise<File[]> {
  const reader = directory.createReader();
  const files: File[] = [];
  for (;;) {
    // A reader hands out a hundred entries at a time, and none when it is through.
    const entries = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject));
    if (entries.length === 0) return files;
    for (const entry of entries.filter(isFile)) {
      files.push(await new Promise<File>((resolve, reject) => entry.file(resolve, reject)));
    }
  }
}

/** Holds at most one model: a new load first cancels the one under way and disposes of the model it replaces. */
export class ModelSlot {
  engine: Engine | null = null;
  /** The last source that loaded whole. */
  loaded: NamedSource | null = null;
  #controller: AbortController | null = null;
  #last: Promise<unknown> = Promise.resolve();

  /** Rejects as Engine.load does; with AbortError if cancelled, or overtaken by another load. */
  load(named: NamedSource, onProgress: (progress: LoadProgress) => void): Promise<Engine> {
    this.cancel();
    const controller = new AbortController();
    this.#controller = controller;
    const { signal } = controller;
    const load = async (): Promise<Engine> => {
      const former = this.engine;
      this.engine = null;
      await former?.dispose();
      const report = (progress: LoadProgress) => !signal.aborted && onProgress(progress);
      this.engine = await Engine.load(named.source, { signal, onProgress: report });
      this.loaded = named;
      return this.engine;
    };
    const result = this.#last.then(load, load);
    this.#last = result;
    return result;
  }

  cancel(): void {
    this.#controller?.abort();
  }
}
