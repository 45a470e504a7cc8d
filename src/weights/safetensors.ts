/**
 * The strict safetensors reader. A file is: 8 bytes N (little-endian u64), N bytes of JSON header, then the data of all
 * tensors without a hole. Every rule of the reference implementation (github.com/huggingface/safetensors,
 * `Metadata::validate`) is checked before a byte of data is used. Stricter than it on purpose: duplicate keys and white
 * space before the `{` are refused, and so are numbers past 2^53 − 1 and two spellings of a tensor that only its JSON
 * library lets through (`["F32", [1], [0, 4]]`, and `{"F32": null}` as a dtype).
 */
import type { ByteFile } from "../base/bytes.ts";
import { SafetensorsError } from "../base/errors.ts";
import { byteLength, DTYPES, isDtype, type Dtype } from "./dtype.ts";
import { decodeUtf8, JsonReader, quote } from "./json.ts";

/** The reference's limit on N, in bytes. */
export const MAX_HEADER_BYTES = 100_000_000;
const LENGTH_BYTES = 8;

export interface TensorInfo {
  readonly name: string;
  readonly dtype: Dtype;
  /** Row-major; [] is a scalar. */
  readonly shape: readonly number[];
  /** Absolute byte range [begin, end) in the file. */
  readonly begin: number;
  readonly end: number;
}

/**
 * The tensors of a file, in the order of their data. `header` is the JSON alone, without the 8 length bytes in front
 * of it; `fileSize` counts the whole file in bytes.
 * @throws SafetensorsError for whatever breaks a rule of the format.
 */
export function parseHeader(file: string, header: Uint8Array, fileSize: number): Map<string, TensorInfo> {
  const fail = failing(file);
  const text = decodeUtf8(header);
  if (text === null) return fail("the header is not valid UTF-8");
  if (!text.startsWith("{")) fail(`the header must begin with "{", and begins with ${quote(text.slice(0, 1))}`);
  const data = LENGTH_BYTES + header.length;
  const tensors: TensorInfo[] = [];
  const json = new JsonReader(text, (message) => fail(`the header is not valid: ${message}`));
  json.object((name) => {
    if (name !== "__metadata__") tensors.push(readTensor(json, name, data, fail));
    else if (!json.skipNull()) json.object(() => json.string());
  });
  json.end();
  tensors.sort((a, b) => a.begin - b.begin || a.end - b.end);
  checkCoverage(tensors, data, fileSize, fail);
  const byName = new Map<string, TensorInfo>();
  for (const tensor of tensors) byName.set(tensor.name, tensor);
  return byName;
}

/**
 * Reads the header of a file and nothing else: at most 8 + N bytes.
 * @throws SafetensorsError as `parseHeader` does; whatever `file.read` throws goes through.
 */
export async function readHeader(file: ByteFile, signal?: AbortSignal): Promise<Map<string, TensorInfo>> {
  const fail = failing(file.name);
  if (file.size < LENGTH_BYTES) fail(`it has ${file.size} bytes, and a safetensors file has at least 8`);
  const length = await file.read(0, LENGTH_BYTES, signal);
  const n = new DataView(length.buffer, length.byteOffset, LENGTH_BYTES).getBigUint64(0, true);
  if (n > BigInt(MAX_HEADER_BYTES)) {
    fail(`its header would be ${n} bytes long (at most ${MAX_HEADER_BYTES}). ${guess(length)}`);
  }
  const size = Number(n);
  if (size > file.size - LENGTH_BYTES) {
    fail(`its header should be ${size} bytes long, and only ${file.size - LENGTH_BYTES} bytes follow: the file is cut`);
  }
  return parseHeader(file.name, await file.read(LENGTH_BYTES, LENGTH_BYTES + size, signal), file.size);
}

type Fail = (message: string) => never;

function failing(file: string): Fail {
  return (message) => {
    const advice = "Download the file again; if that does not help, whoever published it has to mend it.";
    throw new SafetensorsError(file, `${message}${/[.!?]$/.test(message) ? "" : "."} ${advice}`);
  };
}

/** What people hand in most often in place of a safetensors file. */
function guess(start: Uint8Array): string {
  const text = String.fromCharCode(...start);
  if (text.startsWith("version ")) return "This looks like a Git LFS pointer: fetch the real file with `git lfs pull`.";
  if (/^\s*</.test(text)) return "This looks like a web page.";
  return "This is not a safetensors file.";
}

/** Reads one entry; `data` is where the file's data section begins, and offsets count from there. */
function readTensor(json: JsonReader, name: string, data: number, fail: Fail): TensorInfo {
  const wrong = (message: string): never => fail(`tensor ${quote(name)}: ${message}`);
  let dtype: string | undefined;
  let shape: number[] | undefined;
  let offsets: number[] | undefined;
  json.object((field) => {
    if (field === "dtype") dtype = json.string();
    else if (field === "shape") shape = json.wholeNumbers();
    else if (field === "data_offsets") offsets = json.wholeNumbers();
    else json.skip();
  });
  if (dtype === undefined) return wrong("it has no dtype");
  if (shape === undefined) return wrong("it has no shape");
  if (offsets === undefined) return wrong("it has no data_offsets");
  if (!isDtype(dtype)) return wrong(`unknown dtype ${quote(dtype)}; the format knows ${DTYPES.join(", ")}`);
  const [from, to] = offsets;
  if (from === undefined || to === undefined || offsets.length !== 2) {
    return wrong(`data_offsets must be two numbers, and holds ${offsets.length}`);
  }
  const bytes = byteLength(dtype, shape);
  if (bytes !== to - from) {
    const size = bytes === null ? "more than 2^53 or no whole number of bytes" : `${bytes} bytes`;
    const shown = quote(shape.join(" × "));
    return wrong(`${dtype} of shape ${shown} takes ${size}, and data_offsets [${from}, ${to}] hold ${to - from}`);
  }
  return { name, dtype, shape, begin: data + from, end: data + to };
}

/** Data runs from the header to the end of the file with no hole and no overlap. `tensors` are sorted. */
function checkCoverage(tensors: readonly TensorInfo[], data: number, fileSize: number, fail: Fail): void {
  let at = data;
  for (const { name, begin, end } of tensors) {
    if (begin !== at) {
      const what = begin > at ? "leaves a hole before" : "overlaps";
      fail(`tensor ${quote(name)} begins at byte ${begin - data} of the data and ${what} byte ${at - data}`);
    }
    at = end;
  }
  if (at > fileSize) fail(`it has ${fileSize} bytes and its tensors end at byte ${at}: the file is cut`);
  if (at < fileSize) fail(`it has ${fileSize} bytes and its tensors end at byte ${at}: there are trailing bytes`);
}
