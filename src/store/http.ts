/**
 * Files of a folder on a web server, read by ranges where the server knows them, and by reading on and skipping where
 * it does not. Whatever the server does, the bytes are those asked for or there is an error.
 */
import type { ByteFile, Repo } from "../base/bytes.ts";
import { SourceError } from "../base/errors.ts";
import { sleep, throwIfAborted } from "./abort.ts";
import { Body } from "./body.ts";
import { checkRange, partsOf, readAll } from "./range.ts";
import { checkPart, isEncoded, isForeign, lengthOf, partOf, send, type Reply, type Target } from "./request.ts";
import { Retries, Transient, type Wait } from "./retry.ts";

/** Fetched when a file is opened and kept: small files and many safetensors headers need no second request. */
const HEAD_BYTES = 1 << 16;

export interface HttpOptions {
  fetch?: typeof fetch | undefined;
  /** How to wait between tries; tests pass one that returns at once. */
  wait?: Wait | undefined;
}

/** What the files of one folder share. */
interface Folder {
  readonly wait: Wait;
  /**
   * A body that ignored the range and is not read to its end, kept for whoever reads on from there. One for all files:
   * browsers allow few connections to a server, and bodies that nobody reads would block the rest.
   */
  parked: { file: HttpFile; body: Body } | undefined;
}

/** A folder by its URL: one with a trailing slash; a query, such as a token, is kept for every file. */
export class HttpRepo implements Repo {
  readonly label: string;
  readonly #base: URL;
  readonly #fetch: typeof fetch;
  readonly #denied: string;
  readonly #folder: Folder;

  /** `denied` is what to do when the server answers 401 or 403. */
  constructor(base: URL, label: string, denied: string, options: HttpOptions = {}) {
    this.label = label;
    this.#base = base;
    this.#denied = denied;
    this.#fetch = options.fetch ?? ((input, init) => fetch(input, init));
    this.#folder = { wait: options.wait ?? sleep, parked: undefined };
  }

  async open(name: string, signal?: AbortSignal): Promise<ByteFile | null> {
    const url = new URL(partsOf(name).map(encodeURIComponent).join("/"), this.#base);
    url.search = this.#base.search;
    const target = { name, url: url.href, fetch: this.#fetch, denied: this.#denied };
    const retries = new Retries(name, this.#folder.wait, signal);
    for (;;) {
      try {
        return await openFile(target, this.#folder, signal);
      } catch (error) {
        await retries.after(error);
      }
    }
  }
}

/** What was learnt when a file was opened. Size, ETag and Last-Modified tell one version of it from another. */
interface Opened {
  readonly size: number;
  readonly etag: string | null;
  readonly modified: string | null;
  readonly foreign: boolean;
  /** The file's first bytes. */
  readonly head: Uint8Array;
  /** False where asking for a range does harm. */
  readonly ranges: boolean;
}

class HttpFile implements ByteFile {
  readonly name: string;
  readonly size: number;
  readonly #target: Target;
  readonly #folder: Folder;
  readonly #opened: Opened;

  constructor(target: Target, folder: Folder, opened: Opened) {
    this.name = target.name;
    this.size = opened.size;
    this.#target = target;
    this.#folder = folder;
    this.#opened = opened;
  }

  async read(begin: number, end: number, signal?: AbortSignal): Promise<Uint8Array> {
    return readAll(this, begin, end, signal);
  }

  async *stream(begin: number, end: number, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
    checkRange(this, begin, end);
    const what = `Reading ${this.name}`;
    throwIfAborted(what, signal);
    let at = begin;
    const { head } = this.#opened;
    if (at < Math.min(end, head.length)) {
      at = Math.min(end, head.length);
      yield head.slice(begin, end);
    }
    const retries = new Retries(this.name, this.#folder.wait, signal);
    while (at < end) {
      let body: Body | undefined;
      try {
        body = this.#unpark(at) ?? (await this.#request(at, end, signal));
        while (at < end) {
          const chunk = await body.take(at, end, what, signal);
          if (!chunk) throw new Transient(`the server's answer ended at byte ${body.position}, before byte ${end}`);
          at += chunk.length;
          retries.progress();
          yield chunk;
        }
        this.#leave(body);
        body = undefined;
      } catch (error) {
        body?.cancel();
        await retries.after(error);
      } finally {
        body?.cancel();
      }
    }
  }

  /** Keeps a body for later reads, in place of the folder's last one. */
  park(body: Body): void {
    this.#folder.parked?.body.cancel();
    this.#folder.parked = { file: this, body };
  }

  #unpark(at: number): Body | undefined {
    const { parked } = this.#folder;
    if (parked?.file !== this || parked.body.position > at) return undefined;
    this.#folder.parked = undefined;
    return parked.body;
  }

  #leave(body: Body): void {
    if (body.whole && body.position < this.size) this.park(body);
    else body.finish();
  }

  async #request(at: number, end: number, signal?: AbortSignal): Promise<Body> {
    const { ranges, foreign, etag, modified } = this.#opened;
    const headers: Record<string, string> = ranges ? { Range: `bytes=${at}-${end - 1}` } : {};
    // Not to another origin: browsers would ask first whether it may be sent, and hubs' CDNs may say no. It only saves
    // bytes, since the answer's version is checked in any case.
    const validator = etag?.startsWith("W/") ? null : (etag ?? modified);
    if (ranges && !foreign && validator !== null) headers["If-Range"] = validator;
    const reply = await send(this.#target, headers, signal);
    if (!reply) throw new SourceError(this.name, "it was there at first and is gone now. Load again.");
    const { response, stop } = reply;
    try {
      this.#checkVersion(response);
      if (response.status === 200) return new Body(response, 0, true, stop);
      checkPart(response, at, end);
      return new Body(response, at, false, stop);
    } catch (error) {
      stop.abort();
      throw error;
    }
  }

  #checkVersion(response: Response): void {
    const { etag, modified } = this.#opened;
    const now = { etag: response.headers.get("etag"), modified: response.headers.get("last-modified") };
    const changed =
      etag !== null && now.etag !== null
        ? withoutWeakness(etag) !== withoutWeakness(now.etag)
        : modified !== null && now.modified !== null && modified !== now.modified;
    const size = response.status === 206 ? partOf(response)?.size : lengthOf(response);
    const resized = size !== undefined && size !== null && size !== this.size;
    if (changed || resized || response.status === 416) {
      throw new SourceError(this.name, "the file on the server changed while loading. Load again.");
    }
  }
}

/** Finds out a file's size, and keeps its first bytes. Null where there is no such file. */
async function openFile(target: Target, folder: Folder, signal?: AbortSignal): Promise<HttpFile | null> {
  const reply = await send(target, { Range: `bytes=0-${HEAD_BYTES - 1}` }, signal);
  if (!reply) return null;
  const { response, stop } = reply;
  try {
    if (response.status === 206 && !isEncoded(response)) return await openPart(target, folder, reply, signal);
    if (response.status === 200) return await openWhole(target, folder, reply, true, signal);
  } catch (error) {
    stop.abort();
    throw error;
  }
  // A 416 (every range of an empty file is one), or a part of a compressed form: ask for all of it.
  stop.abort();
  const whole = await send(target, {}, signal);
  if (!whole) return null;
  try {
    return await openWhole(target, folder, whole, false, signal);
  } catch (error) {
    whole.stop.abort();
    throw error;
  }
}

async function openPart(target: Target, folder: Folder, reply: Reply, signal?: AbortSignal): Promise<HttpFile> {
  const { response, stop } = reply;
  const size = partOf(response)?.size ?? (await hiddenSize(target, signal));
  const wanted = Math.min(HEAD_BYTES, size);
  checkPart(response, 0, wanted);
  const body = new Body(response, 0, false, stop);
  const head = await readHead(body, wanted, target.name, signal);
  body.finish();
  return new HttpFile(target, folder, { ...factsOf(response), size, head, ranges: true });
}

async function openWhole(
  target: Target,
  folder: Folder,
  { response, stop }: Reply,
  ranges: boolean,
  signal?: AbortSignal,
): Promise<HttpFile> {
  if (response.status !== 200)
    throw new SourceError(target.name, `the server answered ${response.status}, not a file.`);
  const body = new Body(response, 0, true, stop);
  const head = await readHead(body, HEAD_BYTES, target.name, signal);
  const length = lengthOf(response);
  const file = (size: number): HttpFile => new HttpFile(target, folder, { ...factsOf(response), size, head, ranges });
  if (head.length < HEAD_BYTES) {
    if (length !== null && length !== head.length) {
      throw new Transient(`the server sent ${head.length} bytes of ${length}`);
    }
    return file(head.length);
  }
  if (length !== null) {
    const opened = file(length);
    opened.park(body);
    return opened;
  }
  // Only counting tells: the length is absent, or is that of a compressed form.
  while (await body.take(body.position, Infinity, `Reading ${target.name}`, signal));
  return file(body.position);
}

/** The first `count` bytes of a body, or all of it if it has fewer. */
async function readHead(body: Body, count: number, name: string, signal?: AbortSignal): Promise<Uint8Array> {
  const head = new Uint8Array(count);
  while (body.position < count) {
    const { position } = body;
    const chunk = await body.take(position, count, `Reading ${name}`, signal);
    if (!chunk) return head.slice(0, position);
    head.set(chunk, position);
  }
  return head;
}

/** The size where Content-Range is hidden, as other origins' often is: the length of all of it, which never is. */
async function hiddenSize(target: Target, signal?: AbortSignal): Promise<number> {
  const reply = await send(target, { Range: "bytes=0-" }, signal);
  reply?.stop.abort();
  const length = reply && lengthOf(reply.response);
  if (length !== null) return length;
  throw new SourceError(target.name, "the server does not say how large it is. Serve the folder with Content-Length.");
}

function factsOf(response: Response): Pick<Opened, "etag" | "modified" | "foreign"> {
  const { headers } = response;
  return { etag: headers.get("etag"), modified: headers.get("last-modified"), foreign: isForeign(response) };
}

function withoutWeakness(etag: string): string {
  return etag.replace(/^W\//, "");
}
