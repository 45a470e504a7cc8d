/**
 * A web server that behaves like a model hub, with faults on demand. Node only.
 *
 *   GET /org/name/resolve/main/FILE   redirects to /cdn/org/name/FILE, as huggingface.co does
 *   GET /files/org/name/FILE          a plain folder of files
 *
 * Both end at the same content, with ranges, ETag, Last-Modified and the CORS headers of the real Hub.
 */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { gzipSync } from "node:zlib";

export interface HubRequest {
  readonly method: string;
  readonly url: string;
  /** "org/name/FILE", or "" for the request that is redirected to it. */
  readonly file: string;
  /** Which request for that file this is, from 1. */
  readonly nth: number;
  readonly headers: IncomingMessage["headers"];
  /** True once the client has closed the connection before all was sent. */
  readonly cancelled: boolean;
}

/** What to do wrong with one answer. Fields combine. */
export interface Fault {
  /** Answer with this status and no content. */
  status?: number;
  /** Added to the answer, or removed from it where undefined. */
  headers?: Record<string, string | undefined>;
  /** Answer with other content than the file's, and an ETag to match. */
  content?: Uint8Array;
  /** Answer every range with 200 and the whole file. */
  ignoreRange?: boolean;
  /** Answer with a part that begins this many bytes later than asked. */
  shiftRange?: number;
  /** Answer with at most this many bytes of the part that was asked for, honestly. */
  shorten?: number;
  /** Compress the content, and say so; a range is then one of the compressed form. */
  gzip?: boolean;
  /** Do not say how long the answer is. */
  chunked?: boolean;
  /** Break the connection after this many bytes of the body. */
  cutAt?: number;
  /** Send nothing more after this many bytes of the body; −1: not even the headers. */
  hangAt?: number;
}

export interface HubOptions {
  /** Content by "org/name/FILE". */
  files?: Record<string, Uint8Array | string>;
  /** Folders on disk by "org/name". */
  folders?: Record<string, string>;
}

export interface Hub {
  /** "http://127.0.0.1:port", without a trailing slash: an `endpoint`. */
  readonly url: string;
  /** All requests so far. */
  readonly requests: HubRequest[];
  /** Decides over the answer to each request for a file; redirects are never faulty. */
  fault: (request: HubRequest) => Fault | undefined;
  close(): Promise<void>;
}

const MODIFIED = new Date(Date.UTC(2024, 0, 1)).toUTCString();
const CORS = {
  "access-control-allow-origin": "*",
  "access-control-expose-headers": "ETag,Accept-Ranges,Content-Range,X-Error-Code",
};

export async function startHub(options: HubOptions): Promise<Hub> {
  const counts = new Map<string, number>();
  const server = createServer((request, response) => void answer(request, response).catch(() => response.destroy()));
  const hub: Hub = {
    url: "",
    requests: [],
    fault: () => undefined,
    close: () =>
      new Promise((done) => {
        server.close(() => done());
        server.closeAllConnections();
      }),
  };

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname } = new URL(request.url!, "http://hub");
    const resolve = /^\/([^/]+\/[^/]+)\/resolve\/[^/]+\/(.+)$/.exec(pathname);
    const file = resolve ? "" : decodeURIComponent(pathname.replace(/^\/(cdn|files)\//, ""));
    const nth = (counts.get(file) ?? 0) + 1;
    counts.set(file, nth);
    const { method = "GET", url = "/", headers } = request;
    const entry = { method, url, file, nth, headers, cancelled: false };
    hub.requests.push(entry);
    response.on("close", () => (entry.cancelled = !response.writableEnded));
    if (resolve) {
      response.writeHead(302, { ...CORS, location: `/cdn/${resolve[1]}/${resolve[2]}` }).end();
      return;
    }
    const fault = hub.fault(entry) ?? {};
    const content = fault.content ?? (await contentOf(options, file));
    if (content) send(entry, response, content, fault);
    else response.writeHead(404, { ...CORS, "x-error-code": "EntryNotFound" }).end();
  }

  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  return Object.assign(hub, { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` });
}

async function contentOf({ files = {}, folders = {} }: HubOptions, file: string): Promise<Uint8Array | null> {
  const content = files[file];
  if (content !== undefined) return typeof content === "string" ? Buffer.from(content) : content;
  for (const [id, path] of Object.entries(folders)) {
    if (file.startsWith(`${id}/`)) return readFile(join(path, file.slice(id.length))).catch(() => null);
  }
  return null;
}

function send(request: HubRequest, response: ServerResponse, content: Uint8Array, fault: Fault): void {
  if (fault.hangAt === -1) return;
  if (fault.status !== undefined) {
    response.writeHead(fault.status, { ...CORS, ...fault.headers }).end();
    return;
  }
  const etag = `"${createHash("sha256").update(content).digest("hex").slice(0, 16)}"`;
  const form = fault.gzip ? gzipSync(content) : content;
  const part = fault.ignoreRange ? undefined : rangeOf(request, etag, form.length);
  const headers: Record<string, string | undefined> = {
    ...CORS,
    etag,
    "last-modified": MODIFIED,
    "accept-ranges": "bytes",
  };
  if (part === "unsatisfiable") {
    response.writeHead(416, { ...CORS, "content-range": `bytes */${form.length}` }).end();
    return;
  }
  let body = form;
  if (part) {
    const begin = part.begin + (fault.shiftRange ?? 0);
    const end = Math.min(part.end + (fault.shiftRange ?? 0), form.length, begin + (fault.shorten ?? Infinity));
    body = form.subarray(begin, end);
    headers["content-range"] = `bytes ${begin}-${end - 1}/${form.length}`;
  }
  if (fault.gzip) headers["content-encoding"] = "gzip";
  if (!fault.chunked) headers["content-length"] = String(body.length);
  for (const [name, value] of Object.entries({ ...headers, ...fault.headers })) {
    if (value !== undefined) response.setHeader(name, value);
  }
  response.writeHead(part ? 206 : 200);
  if (request.method === "HEAD") response.end();
  else sendBody(response, body, fault);
}

function sendBody(response: ServerResponse, body: Uint8Array, { cutAt, hangAt }: Fault): void {
  if (cutAt !== undefined) {
    // Headers alone are not sent until there is something to send or they are flushed.
    response.flushHeaders();
    response.write(Buffer.from(body.subarray(0, cutAt)), () => response.destroy());
  } else if (hangAt !== undefined) {
    response.flushHeaders();
    response.write(Buffer.from(body.subarray(0, hangAt)));
  } else response.end(body);
}

/** The range asked for, or undefined where all is to be sent: none asked for, or If-Range names another version. */
function rangeOf(
  { headers }: HubRequest,
  etag: string,
  size: number,
): { begin: number; end: number } | "unsatisfiable" | undefined {
  const match = /^bytes=(\d+)-(\d*)$/.exec(headers.range ?? "");
  const validator = headers["if-range"];
  if (!match || (validator !== undefined && validator !== etag && validator !== MODIFIED)) return undefined;
  const begin = Number(match[1]);
  if (begin >= size) return "unsatisfiable";
  return { begin, end: Math.min(size, match[2] === "" ? size : Number(match[2]) + 1) };
}
