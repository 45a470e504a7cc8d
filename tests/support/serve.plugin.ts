import { createReadStream, statSync } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import { resolve, sep } from "node:path";
import type { Plugin } from "vite";

/** The file below `root` that a URL path names, or null: outside of it, hidden, absent, or not a plain file. */
export function fileBelow(root: string, urlPath: string): string | null {
  let relative: string;
  try {
    relative = decodeURIComponent(urlPath).replace(/^\/+/, "");
  } catch {
    return null;
  }
  const base = resolve(root);
  const file = resolve(base, relative);
  if (relative.includes("\0") || !file.startsWith(base + sep)) return null;
  if (relative.split(/[/\\]/).some((part) => part.startsWith(".") || part === "node_modules")) return null;
  return statSync(file, { throwIfNoEntry: false })?.isFile() ? file : null;
}

/** First and last byte of a single `Range` header; null where there is none; "invalid" where none of it exists. */
export function byteRange(header: string | undefined, size: number): [first: number, last: number] | null | "invalid" {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header ?? "");
  if (!match || (match[1] === "" && match[2] === "")) return null;
  const first = match[1] === "" ? Math.max(0, size - Number(match[2])) : Number(match[1]);
  const last = match[1] === "" || match[2] === "" ? size - 1 : Math.min(size - 1, Number(match[2]));
  return first > last ? "invalid" : [first, last];
}

function send(root: string, request: IncomingMessage, response: ServerResponse): void {
  const file = fileBelow(root, (request.url ?? "/").replace(/[?#].*$/s, ""));
  if (file === null || (request.method !== "GET" && request.method !== "HEAD")) {
    response.writeHead(404, { "content-type": "text/plain" }).end("not found");
    return;
  }
  const { size, mtimeMs } = statSync(file);
  const headers = {
    "accept-ranges": "bytes",
    "cache-control": "no-cache",
    "content-type": "application/octet-stream",
    etag: `"${size}-${Math.trunc(mtimeMs)}"`,
  };
  const range = byteRange(request.headers.range, size);
  if (range === "invalid") {
    response.writeHead(416, { ...headers, "content-range": `bytes */${size}` }).end();
    return;
  }
  const [first, last] = range ?? [0, size - 1];
  response.writeHead(range ? 206 : 200, {
    ...headers,
    "content-length": last - first + 1,
    ...(range ? { "content-range": `bytes ${first}-${last}/${size}` } : {}),
  });
  if (request.method === "HEAD" || size === 0) response.end();
  else createReadStream(file, { start: first, end: last }).pipe(response);
}

/** Serves the bytes of the files below `root` under `prefix`, untouched by Vite, read-only, with ranges and real 404s. */
export function serveFolder(prefix: string, root: string): Plugin {
  return {
    name: `serve ${prefix}`,
    configureServer(server) {
      server.middlewares.use(prefix, (request, response) => send(root, request, response));
    },
  };
}
