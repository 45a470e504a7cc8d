/** A file whose bytes can be read in ranges: what `store` brings and `weights` and the loader read. */
export interface ByteFile {
  /** The name within the checkpoint folder, for messages. */
  readonly name: string;
  readonly size: number;
  /** Exactly the bytes [begin, end), or an error. For small ranges: all of it is in memory at once. */
  read(begin: number, end: number, signal?: AbortSignal): Promise<Uint8Array>;
  /** The bytes [begin, end) in order, in chunks of the source's choosing; ends early only by an error. */
  stream(begin: number, end: number, signal?: AbortSignal): AsyncIterable<Uint8Array>;
}

/** A checkpoint folder, wherever it is. */
export interface Repo {
  /** What a person would call it: an address, a path, "dropped files". */
  readonly label: string;
  /** The file of that name, or null where the folder has none. Other failures throw SourceError. */
  open(name: string, signal?: AbortSignal): Promise<ByteFile | null>;
}
