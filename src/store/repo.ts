/** From what a caller names to a folder of files. */
import type { Repo } from "../base/bytes.ts";
import { ArgumentError } from "../base/errors.ts";
import { throwIfAborted } from "./abort.ts";
import { DirectoryRepo, FilesRepo } from "./files.ts";
import { HttpRepo, type HttpOptions } from "./http.ts";
import { openFolder } from "./node.ts";

const HUB = "https://huggingface.co";

export interface RepoOptions extends HttpOptions {
  /** Another Hub than Hugging Face's. */
  endpoint?: string | undefined;
  /** Of a Hub id: branch, tag or commit; default "main". */
  revision?: string | undefined;
  signal?: AbortSignal | undefined;
}

/**
 * Opens a checkpoint folder. A string is a Hub id "org/name", the URL of a folder, in Node a path that begins with "."
 * or "/" or a `file:` URL, and in a page a path relative to it that begins with "." or "/".
 * @throws ArgumentError for a string of no such form; SourceError if a path leads to no folder; AbortError.
 */
export async function openRepo(
  source: string | readonly File[] | FileSystemDirectoryHandle,
  options: RepoOptions = {},
): Promise<Repo> {
  throwIfAborted("Opening the model", options.signal);
  if (typeof source !== "string") {
    if (isList(source)) return new FilesRepo(source);
    if (typeof source?.getFileHandle === "function") return new DirectoryRepo(source);
    throw new ArgumentError(
      `The model must be a string, an array of files or a directory handle, not ${Object.prototype.toString.call(source)}.`,
    );
  }
  if (inNode() && /^(?:\.|\/|file:)/.test(source)) return openFolder(source);
  if (/^(?:\.|\/(?!\/))/.test(source)) return openUrl(new URL(source, pageUrl()), options);
  if (/^https?:\/\//i.test(source) && URL.canParse(source)) return openUrl(new URL(source), options);
  return openHub(source, options);
}

/** `Array.isArray` leaves a readonly array in the other branch. */
function isList(source: readonly File[] | FileSystemDirectoryHandle): source is readonly File[] {
  return Array.isArray(source);
}

function inNode(): boolean {
  return typeof process === "object" && typeof process.versions?.node === "string" && typeof document === "undefined";
}

function pageUrl(): string {
  return typeof document === "undefined" ? location.href : document.baseURI;
}

function openUrl(url: URL, options: RepoOptions): Repo {
  if (url.username || url.password) {
    throw new ArgumentError("The model's URL holds a user name or password, which fetch() refuses. Leave it out.");
  }
  url.hash = "";
  if (!url.pathname.endsWith("/")) url.pathname += "/";
  // Without the query: it may be a token.
  const label = url.origin + url.pathname;
  return new HttpRepo(url, label, "Serve the folder without sign-in, or download it and give its files.", options);
}

function openHub(id: string, options: RepoOptions): Repo {
  const names = id.split("/");
  if (names.length !== 2 || !names.every(isHubName)) {
    throw new ArgumentError(
      `${JSON.stringify(id)} names no model. Give a Hub id ("org/name"), the URL of a folder ("https://…"), ` +
        'or a path that begins with "." or "/".',
    );
  }
  const { endpoint = HUB, revision = "main" } = options;
  if (!/^https?:\/\//i.test(endpoint) || !URL.canParse(endpoint)) {
    throw new ArgumentError(`The endpoint ${JSON.stringify(endpoint)} is no URL. Give one such as "${HUB}".`);
  }
  if (!/^\w[\w./-]*$/.test(revision) || revision.includes("..")) {
    throw new ArgumentError(`${JSON.stringify(revision)} is no revision. Give a branch, a tag or a commit's hash.`);
  }
  const page = `${endpoint.replace(/\/+$/, "")}/${id}`;
  const denied =
    `Either there is no model ${id}, or it is private or asks for consent: see ${page}; then download it and give its ` +
    `files. (A folder's path begins with "." or "/": "./${id}".)`;
  return new HttpRepo(new URL(`${page}/resolve/${encodeURIComponent(revision)}/`), id, denied, options);
}

/** As the Hub names users and repositories. */
function isHubName(name: string): boolean {
  return name.length <= 96 && /^\w(?:[\w.-]*\w)?$/.test(name) && !/--|\.\./.test(name);
}
