/**
 * A session as bytes: the ids of a text, what the cache holds of them, and where its draws stand. One safetensors file:
 *
 *   ids                    [tokens] U32
 *   layer.L.key, .value    [heads, entries, width] F32, F16 or I8: the last `entries` of the tokens, fewer behind a window
 *   layer.L.scales         [heads, entries, 2] F16, with I8: of key and value
 *   layer.L.latent         [1, entries, width] F32 or F16, in place of key and value
 *
 * Pages are not in it: a cache of other pages takes it as well. The metadata names what the entries depend on, and has a
 * SHA-256 of the file with its own digits as zeros.
 */
import { ContextLengthError, SessionError } from "../base/errors.ts";
import type { Dtype } from "../weights/dtype.ts";
import { parseHeader, type TensorInfo } from "../weights/safetensors.ts";
import { encodeSafetensors, type TensorData } from "../weights/write.ts";
import { firstKept, firstSeen } from "./paging.ts";
import type { Plane } from "./page-bytes.ts";

const FORMAT = "tessera-session";
const VERSION = "1";
const FILE = "session";

/** What the entries of a cache depend on besides their tokens: names that have to be the same. */
export interface CacheIdentity {
  /** Config and weights as published: see `WeightDigest`. */
  readonly model: string;
  /** Resident layout of each matrix. */
  readonly layout: string;
  /** Format of the cache. */
  readonly cache: string;
}

/** What a session's entries are. */
export interface SavedIdentity extends CacheIdentity {
  /** Name of the rotary regime that its keys were turned in. */
  readonly ropes: string;
}

/** How a cache lays entries out. */
export interface CacheLayout {
  readonly planes: readonly Plane[];
  /** Tokens a page holds. */
  readonly pageSize: number;
  /** By pool, entries that a row sees. */
  readonly windows: readonly number[];
}

/** Where draws stand: the seed, and how many of the last ids were drawn with it. */
export interface SavedSampler {
  readonly seed?: number;
  readonly drawn?: number;
}

/** What a step read of a place: a page of each plane of the pools that are present, in the order of the planes. */
export interface Place {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly present: readonly boolean[];
}

const DTYPES: Readonly<Record<number, Dtype>> = { 4: "F32", 2: "F16", 1: "I8" };
const ZEROS = "0".repeat(64);
/** The checksum comes first in the header, so that its place is known. */
const CHECKSUM_AT = 8 + '{"__metadata__":{"sha256":"'.length;

const nameOf = ({ layer, name }: Plane): string => `layer.${layer}.${name}`;

/** The file. `places` are those of the pages, from the first one kept to the last. */
export async function encodeSession(
  identity: SavedIdentity,
  { planes, pageSize }: CacheLayout,
  ids: readonly number[],
  sampler: SavedSampler,
  places: ReadonlyMap<number, Place>,
): Promise<Uint8Array<ArrayBuffer>> {
  const firsts = new Map<number, number>();
  for (const [place, { present }] of places) {
    present.forEach((there, k) => there && firsts.set(k, Math.min(place, firsts.get(k) ?? Infinity)));
  }
  const tensors = planes.map((plane): TensorData => {
    const entries = ids.length - firsts.get(plane.pool)! * pageSize;
    const shape = [plane.heads, entries, plane.width];
    const data = new Uint8Array(plane.heads * entries * plane.width * plane.elementBytes);
    return { name: nameOf(plane), dtype: DTYPES[plane.elementBytes]!, shape, data };
  });
  for (const [place, { bytes, present }] of places) {
    let at = 0;
    planes.forEach((plane, i) => {
      if (!present[plane.pool]) return;
      const page = bytes.subarray(at, (at += plane.pageBytes));
      const base = firsts.get(plane.pool)! * pageSize;
      eachRun(plane, pageSize, place, { base, end: ids.length }, (inPage, inTensor, length) => {
        tensors[i]!.data.set(page.subarray(inPage, inPage + length), inTensor);
      });
    });
  }
  const { seed, drawn } = sampler;
  const metadata = {
    sha256: ZEROS,
    format: FORMAT,
    version: VERSION,
    ...identity,
    pageSize: String(pageSize),
    ...(seed !== undefined && { seed: String(seed) }),
    ...(drawn !== undefined && { drawn: String(drawn) }),
  };
  const words = Uint32Array.from(ids);
  const idTensor: TensorData = { name: "ids", dtype: "U32", shape: [ids.length], data: new Uint8Array(words.buffer) };
  const file = encodeSafetensors([idTensor, ...tensors], metadata) as Uint8Array<ArrayBuffer>;
  file.set(new TextEncoder().encode(await sha256(file)), CHECKSUM_AT);
  return file;
}

/** A saved session that fits this cache, to be put into its pages. */
export interface Restorable extends SavedSampler {
  readonly ids: number[];
  /** Which of the engine's rotary regimes they are of. */
  readonly regime: number;
  /** Whole pages of the cache that there are entries for. */
  readonly places: number;
  /** By pool, the first place that there is something for. */
  readonly firsts: readonly number[];
  /** What belongs in the pages at a place. */
  readonly page: (place: number) => Uint8Array<ArrayBuffer>;
}

/**
 * Checks everything before anything is used. `regimes` are the names of the engine's rotary regimes.
 * @throws SessionError that says what is wrong; ContextLengthError for more tokens than this engine takes
 */
export async function decodeSession(
  bytes: Uint8Array,
  identity: CacheIdentity,
  regimes: readonly string[],
  layout: CacheLayout,
  limits: { readonly contextTokens: number; readonly vocabSize: number },
): Promise<Restorable> {
  const { tensors, metadata } = readFile(bytes);
  const file = new Uint8Array(bytes); // ours from here on: the caller may change his
  await checkChecksum(file);
  checkIdentity(metadata, identity);
  const regime = regimeOf(metadata, regimes);
  const ids = idsOf(file, tensors, limits.vocabSize);
  if (ids.length > limits.contextTokens) throw new ContextLengthError(ids.length, limits.contextTokens);
  const bases = basesOf(tensors, layout, ids.length);
  const { planes, pageSize, windows } = layout;
  const places = Math.floor(ids.length / pageSize);
  const firsts = windows.map((window, k) => {
    const available = Math.ceil(bases[k]! / pageSize);
    if (available <= firstSeen(places * pageSize, window, pageSize)) {
      return Math.max(available, firstKept(places * pageSize, window, pageSize));
    }
    const saved = metadata["pageSize"];
    throw new SessionError(
      "cache",
      `it has too little of its windowed layers for pages of ${pageSize}`,
      `Load with pages of ${saved}.`,
    );
  });
  const page = (place: number): Uint8Array<ArrayBuffer> => {
    const there = planes.filter(({ pool }) => place >= firsts[pool]!);
    const out = new Uint8Array(there.reduce((sum, plane) => sum + plane.pageBytes, 0));
    let at = 0;
    for (const plane of there) {
      const { begin } = tensors.get(nameOf(plane))!;
      eachRun(plane, pageSize, place, { base: bases[plane.pool]!, end: ids.length }, (inPage, inTensor, length) => {
        out.set(file.subarray(begin + inTensor, begin + inTensor + length), at + inPage);
      });
      at += plane.pageBytes;
    }
    return out;
  };
  const number = (name: string): number | undefined => (metadata[name] === undefined ? undefined : +metadata[name]);
  const [seed, drawn] = [number("seed"), number("drawn")];
  return {
    ids,
    regime,
    places,
    firsts,
    page,
    ...(seed !== undefined && { seed }),
    ...(drawn !== undefined && { drawn }),
  };
}

/** The runs of bytes that a page and a tensor of entries [base, end) have in common: one for each head. */
function eachRun(
  { heads, width, elementBytes }: Plane,
  pageSize: number,
  place: number,
  { base, end }: { base: number; end: number },
  copy: (inPage: number, inTensor: number, length: number) => void,
): void {
  const entryBytes = width * elementBytes;
  const first = place * pageSize;
  const length = (Math.min(first + pageSize, end) - first) * entryBytes;
  for (let head = 0; head < heads; head++) {
    copy(head * pageSize * entryBytes, (head * (end - base) + first - base) * entryBytes, length);
  }
}

type Metadata = Readonly<Record<string, string>>;

function readFile(bytes: Uint8Array): { tensors: Map<string, TensorInfo>; metadata: Metadata } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const length = bytes.length < 8 ? Infinity : Number(view.getBigUint64(0, true));
  if (length > bytes.length - 8) throw corrupt("it is cut, or no saved session at all");
  const header = bytes.subarray(8, 8 + length);
  let tensors: Map<string, TensorInfo>;
  try {
    tensors = parseHeader(FILE, header, bytes.length);
  } catch (cause) {
    throw corrupt((cause as Error).message, { cause });
  }
  const json = JSON.parse(new TextDecoder().decode(header)) as { __metadata__?: Metadata | null };
  const metadata = json.__metadata__ ?? {};
  if (metadata["format"] !== FORMAT) throw corrupt("it is a safetensors file, but no saved session");
  if (metadata["version"] !== VERSION) {
    throw new SessionError("version", `it is of version ${metadata["version"]}; this build reads ${VERSION}`);
  }
  return { tensors, metadata };
}

async function checkChecksum(file: Uint8Array<ArrayBuffer>): Promise<void> {
  const zeros = new TextEncoder().encode(ZEROS);
  const given = file.slice(CHECKSUM_AT, CHECKSUM_AT + zeros.length);
  file.set(zeros, CHECKSUM_AT);
  if ((await sha256(file)) !== new TextDecoder().decode(given)) throw corrupt("its checksum is wrong");
}

const MEANING: Readonly<Record<keyof CacheIdentity, readonly ["model" | "cache", string]>> = {
  model: ["model", "it was saved by another model: config or weights differ"],
  layout: ["model", "its model had another weight format"],
  cache: ["cache", "its cache had another format"],
};

function checkIdentity(metadata: Metadata, identity: CacheIdentity): void {
  for (const name of Object.keys(MEANING) as (keyof CacheIdentity)[]) {
    const [reason, meaning] = MEANING[name];
    if (metadata[name] !== identity[name]) throw new SessionError(reason, meaning);
  }
}

/** Of one model, so what is missing is a regime for longer requests than this engine takes. */
function regimeOf(metadata: Metadata, regimes: readonly string[]): number {
  const regime = regimes.indexOf(metadata["ropes"] ?? "");
  if (regime >= 0) return regime;
  throw new SessionError(
    "cache",
    "its rotary positions are stretched for longer requests than this engine takes",
    "Load with a contextTokens as large as it was saved with, or save it anew with a smaller maxTokens.",
  );
}

function idsOf(file: Uint8Array<ArrayBuffer>, tensors: Map<string, TensorInfo>, vocabSize: number): number[] {
  const tensor = tensors.get("ids");
  if (tensor?.dtype !== "U32" || tensor.shape.length !== 1 || tensor.begin === tensor.end)
    throw corrupt("it has no ids");
  const ids = [...new Uint32Array(file.slice(tensor.begin, tensor.end).buffer)];
  if (ids.some((id) => id >= vocabSize)) throw corrupt("it has ids that the model does not know");
  return ids;
}

/** By pool, the first token that there are entries of. */
function basesOf(tensors: Map<string, TensorInfo>, { planes }: CacheLayout, tokens: number): number[] {
  const bases: number[] = [];
  for (const plane of planes) {
    const { dtype, shape } = tensors.get(nameOf(plane)) ?? {};
    const [heads, entries = 0, width] = shape ?? [];
    const base = tokens - entries;
    const fits = dtype === DTYPES[plane.elementBytes] && heads === plane.heads && width === plane.width;
    if (!fits || entries < 1 || base < 0 || (bases[plane.pool] ?? base) !== base) {
      throw corrupt(`${nameOf(plane)} is not there, or has another shape`);
    }
    bases[plane.pool] = base;
  }
  if (tensors.size !== planes.length + 1) throw corrupt("it has tensors that do not belong there");
  return bases;
}

const corrupt = (what: string, options?: ErrorOptions): SessionError =>
  new SessionError("corrupt", what, undefined, options);

async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const sum = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(sum, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
