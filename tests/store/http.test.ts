import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { ByteFile } from "../../src/base/bytes.ts";
import { AbortError, SourceError } from "../../src/base/errors.ts";
import { openRepo, type RepoOptions } from "../../src/store/repo.ts";
import { startHub, type Fault, type Hub } from "../support/hub.ts";

/** What is fetched at opening; only beyond it are there further requests. */
const HEAD = 65536;
const SIZE = 300_000;
const big = Uint8Array.from({ length: SIZE }, (_, i) => (i * 31 + (i >> 8)) % 251);
const other = big.map((byte) => byte ^ 1);
const small = new TextEncoder().encode('{"model_type":"llama"}');

let hub: Hub;
let waits: number[] = [];

beforeAll(async () => {
  const m = { "config.json": small, "big.bin": big, "empty.txt": new Uint8Array(0), "a b#ü?.json": small };
  const files = Object.entries(m).map(([name, content]) => [`org/m/${name}`, content] as const);
  hub = await startHub({ files: Object.fromEntries([...files, ["org/m/shards/1.bin", other]]) });
});
afterAll(() => hub.close());
afterEach(() => {
  hub.fault = () => undefined;
  hub.requests.length = 0;
  waits = [];
});

const wait = async (ms: number): Promise<void> => void waits.push(ms);

async function open(name: string, options: RepoOptions = {}): Promise<ByteFile | null> {
  return (await openRepo(`${hub.url}/files/org/m`, { wait, ...options })).open(name, options.signal);
}

async function openBig(options: RepoOptions = {}): Promise<ByteFile> {
  const file = await open("big.bin", options);
  expect(file?.size).toBe(SIZE);
  return file!;
}

/** How many requests there were before the last call of `faults`. */
let before = 0;

/** Faults for the requests from here on, in turn; later ones have none. */
function faults(...list: (Fault | undefined)[]): void {
  before = hub.requests.length;
  hub.fault = () => list[hub.requests.length - 1 - before];
}

/** The requests since the last call of `faults`. */
function reads(): { range: string | undefined; ifRange: string | string[] | undefined }[] {
  return hub.requests.slice(before).map(({ headers: { range, ...others } }) => {
    return { range, ifRange: others["if-range"] };
  });
}

/** Whether reads of ranges on both sides of the head, and across it, give the right bytes. */
async function expectRightBytes(file: ByteFile, content = big): Promise<void> {
  const ranges = [
    [0, SIZE],
    [0, 8],
    [HEAD - 1, HEAD + 1],
    [HEAD, HEAD],
    [HEAD, SIZE],
    [SIZE - 1, SIZE],
    [200_000, 250_000],
  ];
  for (const [begin, end] of ranges as [number, number][]) {
    expect(Buffer.compare(await file.read(begin, end), content.subarray(begin, end)), `${begin} to ${end}`).toBe(0);
  }
}

describe("addresses", () => {
  it("a Hub id, through the redirect, at a revision", async () => {
    const repo = await openRepo("org/m", { endpoint: `${hub.url}/`, revision: "refs/pr/1", wait });
    expect(repo.label).toBe("org/m");
    const file = (await repo.open("config.json"))!;
    expect(await file.read(0, file.size)).toEqual(small);
    const paths = hub.requests.map((request) => request.url);
    expect(paths).toEqual(["/org/m/resolve/refs%2Fpr%2F1/config.json", "/cdn/org/m/config.json"]);
    await expectRightBytes((await repo.open("shards/1.bin"))!, other);
  });

  it("a folder's URL, with or without a trailing slash, keeping a query for every file", async () => {
    const repo = await openRepo(`${hub.url}/files/org/m?token=x#y`, { wait });
    expect(repo.label).toBe(`${hub.url}/files/org/m/`);
    expect((await repo.open("config.json"))?.size).toBe(small.length);
    expect((await (await openRepo(`${hub.url}/files/org/m/`, { wait })).open("config.json"))?.size).toBe(small.length);
    expect(hub.requests.map((request) => request.url)).toEqual([
      "/files/org/m/config.json?token=x",
      "/files/org/m/config.json",
    ]);
  });

  it("escapes what a file's name holds", async () => {
    expect((await open("a b#ü?.json"))?.size).toBe(small.length);
  });

  it.each(["../m/config.json", "/config.json", "a//b", "", ".", "a\\b"])("refuses the name %j", async (name) => {
    await expect(open(name)).rejects.toThrow(SourceError);
    expect(hub.requests).toHaveLength(0);
  });

  it("calls a given fetch as a plain function", async () => {
    const given = function (this: unknown, ...args: Parameters<typeof fetch>): Promise<Response> {
      expect(this).toBeUndefined();
      return fetch(...args);
    };
    expect((await open("config.json", { fetch: given }))?.size).toBe(small.length);
  });
});

describe("a server with ranges", () => {
  it("reads a small file with one request", async () => {
    const file = (await open("config.json"))!;
    expect(await file.read(0, file.size)).toEqual(small);
    expect(await file.read(3, 5)).toEqual(small.slice(3, 5));
    expect(hub.requests).toHaveLength(1);
  });

  it("reads any range, and asks only for what it does not have", async () => {
    const file = await openBig();
    await expectRightBytes(file);
    faults();
    await file.read(HEAD - 10, HEAD + 10);
    expect(reads().map((read) => read.range)).toEqual([`bytes=${HEAD}-${HEAD + 9}`]);
  });

  it("guards later requests with the ETag by If-Range", async () => {
    const file = await openBig();
    faults();
    await file.read(SIZE - 5, SIZE);
    expect(reads()[0]!.ifRange).toMatch(/^"\w{16}"$/);
  });

  it("does not use a weak ETag for If-Range", async () => {
    const weak = { headers: { etag: 'W/"1"' } };
    hub.fault = () => weak;
    const file = await openBig();
    faults(weak);
    await file.read(SIZE - 5, SIZE);
    expect(reads()[0]!.ifRange).toBeUndefined();
  });

  it("opens an empty file", async () => {
    const file = (await open("empty.txt"))!;
    expect(file.size).toBe(0);
    expect(await file.read(0, 0)).toEqual(new Uint8Array(0));
  });

  it("refuses a range outside the file as a bug", async () => {
    const file = await openBig();
    await expect(file.read(0, SIZE + 1)).rejects.toThrow(/Tessera bug/);
    await expect(file.read(5, 4)).rejects.toThrow(/Tessera bug/);
  });

  it("takes parts shorter than asked for and asks for the rest", async () => {
    const file = await openBig();
    hub.fault = () => ({ shorten: 100_000 });
    await expectRightBytes(file);
  });

  it("reads on when the opening was cut", async () => {
    hub.fault = ({ nth }) => (nth === 1 ? { cutAt: 10 } : undefined);
    await openBig();
  });

  it.each([
    ["a part", 206, { "content-range": "bytes 0-21/22" }],
    ["a whole file", 200, { "content-length": "22" }],
  ])("opens again what was said to be longer: %s", async (_, status, headers: Record<string, string>) => {
    let calls = 0;
    const short: typeof fetch = async (input, init) =>
      ++calls === 1 ? new Response(small.slice(0, 5), { status, headers }) : fetch(input, init);
    const file = (await open("config.json", { fetch: short }))!;
    expect(await file.read(0, file.size)).toEqual(small);
    expect(calls).toBe(2);
  });

  it("stops the request when the reader leaves early", async () => {
    let signal: AbortSignal | null | undefined;
    const spy: typeof fetch = (input, init) => fetch(input, { ...init, signal: (signal = init?.signal) ?? null });
    const file = await openBig({ fetch: spy });
    for await (const chunk of file.stream(HEAD, SIZE)) {
      expect(chunk.length).toBeGreaterThan(0);
      break;
    }
    expect(signal?.aborted).toBe(true);
  });
});

describe("a server that ignores ranges", () => {
  const cases: [string, Fault][] = [
    ["with Content-Length", { ignoreRange: true }],
    ["without Content-Length", { ignoreRange: true, chunked: true }],
    ["compressing, with the compressed length", { ignoreRange: true, gzip: true }],
    ["compressing, without a length", { ignoreRange: true, gzip: true, chunked: true }],
    ["that are ranges of a compressed form", { gzip: true }],
  ];
  it.each(cases)("gives the right bytes %s", async (_, fault) => {
    hub.fault = () => fault;
    await expectRightBytes(await openBig());
    const config = (await open("config.json"))!;
    expect(await config.read(0, config.size)).toEqual(small);
    expect((await open("empty.txt"))?.size).toBe(0);
  });

  it("needs one request for a file that is read forward", async () => {
    hub.fault = () => ({ ignoreRange: true });
    const file = await openBig();
    for (let at = 0; at < SIZE; at += 30_000) {
      const end = Math.min(SIZE, at + 20_000);
      expect(Buffer.compare(await file.read(at, end), big.subarray(at, end))).toBe(0);
    }
    expect(hub.requests).toHaveLength(1);
  });

  it("keeps at most one connection that nobody reads", async () => {
    hub.fault = () => ({ ignoreRange: true });
    const signals: AbortSignal[] = [];
    const spy: typeof fetch = (input, init) => (signals.push(init!.signal!), fetch(input, init));
    const repo = await openRepo(`${hub.url}/files/org/m`, { wait, fetch: spy });
    const first = (await repo.open("big.bin"))!;
    const second = (await repo.open("shards/1.bin"))!;
    expect(await first.read(HEAD, HEAD + 1)).toEqual(big.slice(HEAD, HEAD + 1));
    expect(await second.read(HEAD, HEAD + 1)).toEqual(other.slice(HEAD, HEAD + 1));
    expect(signals.filter((signal) => !signal.aborted)).toHaveLength(1);
  });

  it("does not let an earlier reader's abort end a later reader's stream", async () => {
    hub.fault = () => ({ ignoreRange: true });
    const file = await openBig();
    const abort = new AbortController();
    await file.read(HEAD, HEAD + 10, abort.signal);
    const rest = file.read(HEAD + 10, SIZE);
    abort.abort();
    expect(Buffer.compare(await rest, big.subarray(HEAD + 10))).toBe(0);
    expect(hub.requests).toHaveLength(1);
  });

  it("even in the middle of a file", async () => {
    const file = await openBig();
    faults({ ignoreRange: true });
    expect(Buffer.compare(await file.read(200_000, 250_000), big.subarray(200_000, 250_000))).toBe(0);
    expect(reads()).toHaveLength(1);
  });
});

describe("broken connections", () => {
  it.each([0, 1, 1000, 65_536, 99_999])("reads on after a cut at %i bytes", async (cutAt) => {
    const file = await openBig();
    faults({ cutAt });
    expect(Buffer.compare(await file.read(200_000, SIZE), big.subarray(200_000))).toBe(0);
    expect(reads()).toHaveLength(2);
  });

  it("asks again from exactly the byte it had reached", async () => {
    const asked: (string | null)[] = [];
    const broken: typeof fetch = async (input, init) => {
      const range = new Headers(init?.headers).get("range");
      if (range === `bytes=0-${HEAD - 1}`) return fetch(input, init);
      asked.push(range);
      if (asked.length > 2) return fetch(input, init);
      const begin = Number(/\d+/.exec(range!));
      let sent = 0;
      const body = new ReadableStream<Uint8Array>({
        pull(controller) {
          if (sent === 3000) return controller.error(new TypeError("terminated"));
          controller.enqueue(big.slice(begin + sent, begin + sent + 1000));
          sent += 1000;
        },
      });
      return new Response(body, { status: 206, headers: { "content-range": `bytes ${begin}-${SIZE - 1}/${SIZE}` } });
    };
    const file = await openBig({ fetch: broken });
    expect(Buffer.compare(await file.read(100_000, SIZE), big.subarray(100_000))).toBe(0);
    const end = SIZE - 1;
    expect(asked).toEqual([`bytes=100000-${end}`, `bytes=103000-${end}`, `bytes=106000-${end}`]);
    expect(waits).toEqual([500, 500]);
  });

  it("gives up after five failures without a byte, but not after five with some", async () => {
    const file = await openBig();
    faults(...Array<Fault>(5).fill({ cutAt: 0 }));
    await expect(file.read(HEAD, SIZE)).rejects.toThrow(/the connection broke, 5 times in a row/);
    expect(waits).toEqual([500, 1000, 2000, 4000]);
    faults(...Array<Fault>(8).fill({ shorten: 1000 }));
    await expectRightBytes(file);
  });

  it("says so when there is no server", async () => {
    const gone = await startHub({});
    await gone.close();
    const repo = await openRepo(`${gone.url}/files/org/m`, { wait });
    const error = await repo.open("config.json").catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(SourceError);
    expect((error as SourceError).message).toMatch(/^config\.json: the server could not be reached.*5 times/);
    expect((error as SourceError).cause).toBeInstanceOf(Error);
  });
});

describe("busy servers", () => {
  it("tries again after 500, longer each time", async () => {
    faults({ status: 500 }, { status: 503 });
    await openBig();
    expect(waits).toEqual([500, 1000]);
  });

  it.each([
    ["3", 3000],
    ["0", 0],
    ["86400", 60_000],
    ["Thu, 01 Jan 1970 00:00:00 GMT", 0],
    ["Fri, 31 Dec 9999 23:59:59 GMT", 60_000],
    ["soon", 500],
  ])("waits as a 429 with Retry-After %s asks", async (header, ms) => {
    faults({ status: 429, headers: { "retry-after": header } });
    await openBig();
    expect(waits).toEqual([ms]);
  });

  it("gives up after five answers of 503, while reading as while opening", async () => {
    const file = await openBig();
    hub.fault = () => ({ status: 503 });
    await expect(file.read(HEAD, SIZE)).rejects.toThrow(/big\.bin: the server answered 503, 5 times in a row/);
    await expect(open("config.json")).rejects.toThrow(/config\.json: the server answered 503, 5 times in a row/);
    expect(waits).toHaveLength(8);
  });

  it("really waits by default, and an abort ends the wait", async () => {
    hub.fault = () => ({ status: 429, headers: { "retry-after": "60" } });
    const abort = new AbortController();
    const repo = await openRepo(`${hub.url}/files/org/m`);
    const opening = repo.open("config.json", abort.signal);
    while (hub.requests.length === 0) await new Promise((done) => setTimeout(done, 5));
    setTimeout(() => abort.abort("enough"), 50);
    await expect(opening).rejects.toMatchObject({ code: "abort", cause: "enough" });
    expect(hub.requests).toHaveLength(1);
  });
});

describe("files that are not there", () => {
  it.each([
    ["404", { status: 404 }],
    ["410", { status: 410 }],
    ["a page instead", { content: small, headers: { "content-type": "text/html; charset=utf-8" } }],
    ["a page instead, whole", { content: small, ignoreRange: true, headers: { "content-type": "TEXT/HTML" } }],
  ] as [string, Fault][])("%s: null, at once", async (_, fault) => {
    hub.fault = () => fault;
    expect(await open("config.json")).toBeNull();
    expect(hub.requests).toHaveLength(1);
  });

  it("a file the hub does not have: null", async () => {
    expect(await (await openRepo("org/m", { endpoint: hub.url, wait })).open("nothing.json")).toBeNull();
  });

  it.each([401, 403])("%i: says what to do, at once", async (status) => {
    hub.fault = () => ({ status });
    const repo = await openRepo("org/m", { endpoint: hub.url, wait });
    const message = new RegExp(`config\\.json: the server refused it \\(${status}\\)\\. .*private.*${hub.url}/org/m`);
    await expect(repo.open("config.json")).rejects.toThrow(message);
    await expect(open("config.json")).rejects.toThrow(/refused it.*Serve the folder without sign-in/);
    expect(waits).toEqual([]);
  });

  it.each(["RepoNotFound", "RevisionNotFound"])("the hub's %s: an error", async (code) => {
    hub.fault = () => ({ status: 404, headers: { "x-error-code": code } });
    await expect(open("config.json")).rejects.toThrow(code);
  });

  it("any other status: an error, at once", async () => {
    hub.fault = () => ({ status: 418 });
    await expect(open("config.json")).rejects.toThrow(/answered 418/);
    expect(hub.requests).toHaveLength(1);
  });

  it.each([
    ["404", { status: 404 }],
    ["a page", { headers: { "content-type": "text/html" } }],
  ] as [string, Fault][])("gone while loading (%s): an error", async (_, fault) => {
    const file = await openBig();
    faults(fault);
    await expect(file.read(HEAD, SIZE)).rejects.toThrow(/gone now/);
  });
});

describe("a file that changes while loading", () => {
  const changed = /big\.bin: the file on the server changed while loading/;

  it("another ETag", async () => {
    const file = await openBig();
    faults({ content: other });
    await expect(file.read(HEAD, SIZE)).rejects.toThrow(changed);
  });

  it("another ETag after a cut, with the same range", async () => {
    const file = await openBig();
    faults({ cutAt: 50_000 }, { headers: { etag: '"new"' } });
    await expect(file.read(HEAD, SIZE)).rejects.toThrow(changed);
  });

  it("another ETag in a whole answer", async () => {
    const file = await openBig();
    faults({ content: other, ignoreRange: true });
    await expect(file.read(HEAD, SIZE)).rejects.toThrow(changed);
  });

  it("no ETag and another Last-Modified", async () => {
    hub.fault = () => ({ headers: { etag: undefined } });
    const file = await openBig();
    faults({ headers: { etag: undefined, "last-modified": new Date(0).toUTCString() } });
    await expect(file.read(HEAD, SIZE)).rejects.toThrow(changed);
  });

  const bare = { etag: undefined, "last-modified": undefined };
  it.each([
    ["a part", {}],
    ["a whole answer", { ignoreRange: true }],
  ])("neither, and another size of %s", async (_, how) => {
    hub.fault = () => ({ headers: bare });
    const file = await openBig();
    faults({ ...how, content: big.subarray(0, SIZE - 1), headers: bare });
    await expect(file.read(HEAD, HEAD + 9)).rejects.toThrow(changed);
  });

  it("shorter than what is asked for", async () => {
    const file = await openBig();
    faults({ status: 416 });
    await expect(file.read(HEAD, SIZE)).rejects.toThrow(changed);
  });

  it("only the strength of its ETag changes: the same file", async () => {
    hub.fault = () => ({ headers: { etag: '"1"' } });
    const file = await openBig();
    hub.fault = () => ({ ignoreRange: true, headers: { etag: 'W/"1"' } });
    await expectRightBytes(file);
  });
});

describe("wrong answers", () => {
  it.each([1, 1000])("a part that begins %i bytes late is asked for again", async (shiftRange) => {
    const file = await openBig();
    faults({ shiftRange });
    expect(Buffer.compare(await file.read(100_000, 200_000), big.subarray(100_000, 200_000))).toBe(0);
    expect(reads()).toHaveLength(2);
  });

  it.each([
    ["a part that always begins late", { shiftRange: 5 }],
    ["a part without Content-Range", { headers: { "content-range": undefined } }],
    ["a part with a Content-Range that makes no sense", { headers: { "content-range": "bytes 9-0/300000" } }],
  ] as [string, Fault][])("%s: an error", async (_, fault) => {
    const file = await openBig();
    hub.fault = () => fault;
    await expect(file.read(100_000, SIZE)).rejects.toThrow(
      /big\.bin: the server answered with .*Content-Range.* 5 times/,
    );
    await expect(open("config.json")).rejects.toThrow(SourceError);
  });

  it("more than was asked for: what was asked for", async () => {
    // The whole rest of the file for every range, as a 206.
    const generous: typeof fetch = async (_, init) => {
      const begin = Number(/\d+/.exec(new Headers(init?.headers).get("range")!));
      const headers = { "content-range": `bytes ${begin}-${SIZE - 1}/${SIZE}` };
      return new Response(big.slice(begin), { status: 206, headers });
    };
    await expectRightBytes(await openBig({ fetch: generous }));
  });
});

describe("another origin", () => {
  /** What a page sees of another origin's answer when that exposes nothing. */
  const foreign: typeof fetch = async (input, init) => {
    expect(new Headers(init?.headers).get("if-range")).toBeNull();
    const response = await fetch(input, init);
    const hidden = ["content-range", "etag", "content-encoding", "x-error-code", "accept-ranges"];
    const headers = new Headers([...response.headers].filter(([name]) => !hidden.includes(name)));
    const seen = new Response(response.body, { status: response.status, headers });
    return Object.defineProperty(seen, "type", { value: "cors" });
  };

  it("reads ranges although Content-Range is hidden", async () => {
    await expectRightBytes(await openBig({ fetch: foreign }));
    expect((await open("config.json", { fetch: foreign }))?.size).toBe(small.length);
    expect((await open("empty.txt", { fetch: foreign }))?.size).toBe(0);
  });

  it("reads a server that ignores ranges", async () => {
    hub.fault = () => ({ ignoreRange: true });
    await expectRightBytes(await openBig({ fetch: foreign }));
  });

  it("says so where nothing tells the size", async () => {
    hub.fault = () => ({ chunked: true });
    await expect(open("big.bin", { fetch: foreign })).rejects.toThrow(/does not say how large it is/);
  });
});

describe("abort", () => {
  async function expectAbort(promise: Promise<unknown>): Promise<void> {
    const error = await promise.catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(AbortError);
    expect(error).toMatchObject({ cause: "enough" });
  }

  it("before anything is asked", async () => {
    const signal = AbortSignal.abort("enough");
    await expectAbort(open("config.json", { signal }));
    const file = await openBig();
    faults();
    await expectAbort(file.read(0, 5, signal));
    expect(reads()).toHaveLength(0);
  });

  it.each([
    ["while the server does not answer", -1],
    ["after the headers", 0],
    ["in the middle of the body", 50_000],
  ])("%s", async (_, hangAt) => {
    const file = await openBig();
    faults({ hangAt });
    const abort = new AbortController();
    const reading = file.read(HEAD, SIZE, abort.signal);
    while (hub.requests.length === before) await new Promise((done) => setTimeout(done, 5));
    abort.abort("enough");
    await expectAbort(reading);
    while (!hub.requests.at(-1)!.cancelled) await new Promise((done) => setTimeout(done, 5));
    expect(waits).toEqual([]);
  });

  it("while opening", async () => {
    hub.fault = () => ({ hangAt: 5 });
    const abort = new AbortController();
    const opening = open("big.bin", { signal: abort.signal });
    while (hub.requests.length === 0) await new Promise((done) => setTimeout(done, 5));
    abort.abort("enough");
    await expectAbort(opening);
  });

  it("with a fetch that does not listen", async () => {
    const deaf: typeof fetch = () => new Promise(() => {});
    const abort = new AbortController();
    const opening = open("config.json", { fetch: deaf, signal: abort.signal });
    setTimeout(() => abort.abort("enough"));
    await expectAbort(opening);
  });

  it("between two chunks, by whoever reads", async () => {
    const file = await openBig();
    const abort = new AbortController();
    const reading = (async () => {
      for await (const chunk of file.stream(HEAD, SIZE, abort.signal)) if (chunk.length) abort.abort("enough");
    })();
    await expectAbort(reading);
  });
});
