/** One HTTP request for a file: sending it, and what its answer says (RFC 9110). */
import { SourceError } from "../base/errors.ts";
import { abortable, throwIfAborted } from "./abort.ts";
import { retryAfterMs, Transient } from "./retry.ts";

/** A file's address, and how to ask for it. */
export interface Target {
  readonly name: string;
  readonly url: string;
  readonly fetch: typeof fetch;
  /** What to do when the server answers 401 or 403. */
  readonly denied: string;
}

export interface Reply {
  readonly response: Response;
  /** Ends the request, wherever it is. */
  readonly stop: AbortController;
}

/** A byte range [begin, end) of a file of `size` bytes. */
interface Part {
  readonly begin: number;
  readonly end: number;
  readonly size: number;
}

/**
 * One request, up to its headers. Null where the file is not there; the answers 200, 206 and 416 are returned.
 * @throws Transient, SourceError, AbortError.
 */
export async function send(
  target: Target,
  headers: Record<string, string>,
  signal?: AbortSignal,
): Promise<Reply | null> {
  const what = `Reading ${target.name}`;
  throwIfAborted(what, signal);
  const stop = new AbortController();
  try {
    const response = await abortable(request(target, { headers, signal: stop.signal }), what, signal);
    if (isThere(response, target)) return { response, stop };
  } catch (error) {
    stop.abort();
    throw error;
  }
  stop.abort();
  return null;
}

async function request({ fetch, url }: Target, init: RequestInit): Promise<Response> {
  try {
    return await fetch(url, init);
  } catch (error) {
    throw new Transient("the server could not be reached, or does not let this page read it (CORS)", { cause: error });
  }
}

/** Whether the answer is the file (or 416); false where there is none; throws for every other answer. */
function isThere({ status, headers }: Response, { name, denied }: Target): boolean {
  if (status === 404 || status === 410) {
    // The Hub's own words for a repository or revision that is not there, where other files cannot be either.
    const code = headers.get("x-error-code");
    if (code !== "RepoNotFound" && code !== "RevisionNotFound") return false;
    throw new SourceError(name, `the server knows no such model or revision (${code}). Check the name.`);
  }
  if (status === 401 || status === 403) throw new SourceError(name, `the server refused it (${status}). ${denied}`);
  if (status === 408 || status === 429 || status >= 500) {
    const retryAfter = retryAfterMs(headers.get("retry-after"), Date.now());
    throw new Transient(`the server answered ${status}`, { retryAfter });
  }
  if (status === 416) return true;
  if (status !== 200 && status !== 206) {
    throw new SourceError(name, `the server answered ${status}, which is not a file. Check the address.`);
  }
  // Servers of single-page apps answer every unknown path with their start page.
  return !/^\s*text\/html\b/i.test(headers.get("content-type") ?? "");
}

/** Content-Range of a 206, or null if it is hidden or does not say the size. */
export function partOf(response: Response): Part | null {
  const match = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(response.headers.get("content-range") ?? "");
  return match && { begin: Number(match[1]), end: Number(match[2]) + 1, size: Number(match[3]) };
}

/** A 206 must begin at `begin`. It may end before `end`: the rest is asked for again. */
export function checkPart(response: Response, begin: number, end: number): void {
  const header = response.headers.get("content-range");
  if (header === null && isForeign(response)) return;
  const part = /^bytes (\d+)-(\d+)\//.exec(header ?? "");
  if (!part || Number(part[1]) !== begin || Number(part[2]) < begin) {
    const got = header === null ? "no Content-Range" : `Content-Range ${JSON.stringify(header)}`;
    throw new Transient(`the server answered with ${got} when asked for bytes ${begin}-${end - 1}`);
  }
}

/** Bytes of the body by Content-Length, or null where that is absent or counts a compressed form. */
export function lengthOf(response: Response): number | null {
  const header = response.headers.get("content-length");
  return header === null || isEncoded(response) ? null : Number(header);
}

export function isEncoded(response: Response): boolean {
  const encoding = response.headers.get("content-encoding");
  return encoding !== null && encoding.toLowerCase() !== "identity";
}

/** From another origin than the page's: browsers then hide most headers, and ask before sending unusual ones. */
export function isForeign(response: Response): boolean {
  return response.type === "cors";
}
