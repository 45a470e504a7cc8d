/**
 * Malformed safetensors files and indices, by name. Each breaks one rule, and `says` is what the error must say, so
 * that a case cannot pass because another rule caught it. The rules are the format's own (see
 * src/weights/safetensors.ts) and are the same ones `tools/oracle/safetensors_mutations.py` asks the reference about.
 */
import { encodeSafetensors } from "../../src/weights/write.ts";

export interface MalformedFile {
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly says: RegExp;
  /** A size to claim, where the file would be too large to make. */
  readonly size?: number;
}

export interface MalformedFolder {
  readonly name: string;
  readonly files: Readonly<Record<string, Uint8Array | string>>;
  readonly says: RegExp;
  readonly error: "SafetensorsError" | "SourceError";
  /** The file the error must name. */
  readonly file: string;
}

const encoder = new TextEncoder();

/** A file whose N fits its header; `data` zero bytes follow. Latin-1 bytes of `raw` are put in as they are. */
export function safetensorsFile(header: string | Uint8Array, data = 0): Uint8Array {
  const json = typeof header === "string" ? encoder.encode(header) : header;
  return withLength(BigInt(json.length), json, data);
}

function withLength(n: bigint, json: Uint8Array, data = 0): Uint8Array {
  const file = new Uint8Array(8 + json.length + data);
  new DataView(file.buffer).setBigUint64(0, n, true);
  file.set(json, 8);
  return file;
}

/** A header's entry: an F32 tensor of one element at the first 4 bytes, with any field replaced by raw JSON. */
function entry(fields: { dtype?: string; shape?: string; data_offsets?: string } = {}): string {
  const { dtype = '"F32"', shape = "[1]", data_offsets = "[0,4]" } = fields;
  return `{"dtype":${dtype},"shape":${shape},"data_offsets":${data_offsets}}`;
}

const A = `"a":${entry()}`;

function latin1(text: string): Uint8Array {
  return Uint8Array.from(text, (c) => c.charCodeAt(0));
}

function text(name: string, header: string, says: RegExp, data = 4): MalformedFile {
  return { name, bytes: safetensorsFile(header, data), says };
}

function raw(name: string, header: string, says: RegExp, data = 4): MalformedFile {
  return { name, bytes: safetensorsFile(latin1(header), data), says };
}

function tensor(name: string, fields: Parameters<typeof entry>[0], says: RegExp, data = 4): MalformedFile {
  return text(name, `{"a":${entry(fields)}}`, says, data);
}

function pair(name: string, a: [number, number], b: [number, number], says: RegExp, data: number): MalformedFile {
  const u8 = ([from, to]: [number, number]): string =>
    entry({ dtype: '"U8"', shape: `[${to - from}]`, data_offsets: `[${from},${to}]` });
  return text(name, `{"a":${u8(a)},"b":${u8(b)}}`, says, data);
}

const framing: MalformedFile[] = [
  { name: "an empty file", bytes: new Uint8Array(0), says: /has 0 bytes/ },
  { name: "seven bytes", bytes: new Uint8Array(7), says: /has 7 bytes/ },
  { name: "N is 0", bytes: withLength(0n, encoder.encode("{}")), says: /must begin with/ },
  { name: "N is one more than follows", bytes: withLength(3n, encoder.encode("{}")), says: /file is cut/ },
  { name: "N is 100,000,001", bytes: withLength(100_000_001n, latin1("{}")), says: /at most 100000000/, size: 2e8 },
  { name: "N is 2^53 + 2", bytes: withLength(2n ** 53n + 2n, latin1("{}")), says: /9007199254740994 bytes/ },
  { name: "N is 2^63", bytes: withLength(2n ** 63n, latin1("{}")), says: /9223372036854775808 bytes/ },
  { name: "N is 2^64 - 1", bytes: withLength(2n ** 64n - 1n, latin1("{}")), says: /18446744073709551615 bytes/ },
  { name: "N cuts the header short", bytes: withLength(10n, encoder.encode(`{${A}}`)), says: /not closed/ },
  { name: "a Git LFS pointer", bytes: latin1("version https://git-lfs.github.com/spec/v1\n"), says: /Git LFS pointer/ },
  { name: "a web page", bytes: latin1("<!doctype html><title>404</title>"), says: /looks like a web page/ },
];

const json: MalformedFile[] = [
  text("a space before the header", ` {${A}}`, /must begin with "\{"/),
  text("a line feed before the header", `\n{${A}}`, /must begin with "\{"/),
  text("a byte-order mark", `\ufeff{${A}}`, /must begin with "\{"/),
  text("the header is an array", `[${A}]`, /must begin with "\{"/),
  text("the header is a number", "4", /must begin with "\{"/, 0),
  raw("not UTF-8", `{"a\xff":${entry()}}`, /not valid UTF-8/),
  raw("overlong UTF-8", `{"a\xc1\x81":${entry()}}`, /not valid UTF-8/),
  raw("a surrogate as UTF-8", `{"a\xed\xa0\x80":${entry()}}`, /not valid UTF-8/),
  text("a trailing comma", `{${A},}`, /expected "\\""/),
  text("no comma between tensors", `{${A} "b":${entry()}}`, /expected "," or "}"/),
  text("no colon", `{"a"${entry()}}`, /expected ":"/),
  text("something after the header", `{${A}}{}`, /follows the end/),
  text("a NUL after the header", `{${A}}\0`, /follows the end/),
  text("single quotes", `{'a':${entry()}}`, /expected "\\""/),
  text("a comment", `{/**/${A}}`, /expected "\\""/),
  text("not closed", `{${A}`, /found the end/),
  text("a raw control character in a name", `{"a\u0001":${entry()}}`, /control character/),
  text("an unknown escape", `{"\\x61":${entry()}}`, /unknown escape/),
  text("a name that is not closed", `{"a`, /not closed/, 0),
  text("an escape at the end", `{"a\\"`, /not closed/, 0),
  text("a high surrogate alone", `{"\\ud800":${entry()}}`, /surrogate/),
  text("a low surrogate alone", `{"\\udc00x":${entry()}}`, /surrogate/),
  text("nested too deep", `{"a":{"x":${"[".repeat(200)}${"]".repeat(200)}}}`, /nested more than/),
  text("NaN in an unknown field", `{"a":{"x":NaN}}`, /expected a number/),
  text("an infinite number in an unknown field", `{"a":{"x":1e999}}`, /out of range/),
];

const duplicates: MalformedFile[] = [
  text("a tensor twice", `{${A},${A}}`, /"a" appears twice/),
  text("a tensor twice, once escaped", `{${A},"\\u0061":${entry()}}`, /"a" appears twice/),
  text("a dtype twice", `{"a":{"dtype":"F32",${entry().slice(1)}}`, /"dtype" appears twice/),
  text("__metadata__ twice", `{"__metadata__":{},${A},"__metadata__":{}}`, /"__metadata__" appears twice/),
  text("a key of __metadata__ twice", `{"__metadata__":{"k":"","k":""},${A}}`, /"k" appears twice/),
  text("a key of an unknown field twice", `{"a":{"x":{"y":1,"y":1},${entry().slice(1)}}`, /"y" appears twice/),
];

const metadata: MalformedFile[] = ["1", '{"b":"c"}', "null", "true", '["b"]'].map((value) =>
  text(`__metadata__ holds ${value}`, `{"__metadata__":{"k":${value}},${A}}`, /expected "\\""/),
);
metadata.push(
  text("__metadata__ is text", `{"__metadata__":"k",${A}}`, /expected "\{"/),
  text("__metadata__ is an array", `{"__metadata__":[],${A}}`, /expected "\{"/),
  text("__metadata__ is a tensor", `{"__metadata__":${entry()}}`, /expected "\\""/),
);

const entries: MalformedFile[] = [
  text("a tensor is null", '{"a":null}', /expected "\{"/),
  text("a tensor is an array", '{"a":["F32",[1],[0,4]]}', /expected "\{"/),
  text("no dtype", '{"a":{"shape":[1],"data_offsets":[0,4]}}', /has no dtype/),
  text("no shape", '{"a":{"dtype":"F32","data_offsets":[0,4]}}', /has no shape/),
  text("no data_offsets", '{"a":{"dtype":"F32","shape":[1]}}', /has no data_offsets/),
  tensor("an unknown dtype", { dtype: '"Q4_0"' }, /unknown dtype "Q4_0"/),
  tensor("a dtype in small letters", { dtype: '"f32"' }, /unknown dtype "f32"/),
  tensor("a dtype that every object has", { dtype: '"constructor"' }, /unknown dtype "constructor"/),
  tensor("a dtype that is a number", { dtype: "32" }, /expected "\\""/),
  tensor("a dtype that is an object", { dtype: '{"F32":null}' }, /expected "\\""/),
  tensor("a shape that is a number", { shape: "1" }, /expected "\["/),
  tensor("a shape of shapes", { shape: "[[1]]" }, /whole number/),
  tensor("a dimension that is a string", { shape: '["1"]' }, /whole number/),
  tensor("a negative dimension", { shape: "[-1]" }, /whole number/),
  tensor("two negative dimensions", { shape: "[-1,-1]" }, /whole number/),
  tensor("a dimension of 1.0", { shape: "[1.0]" }, /whole number/),
  tensor("a dimension of 1e0", { shape: "[1e0]" }, /whole number/),
  tensor("a dimension of 01", { shape: "[01]" }, /whole number/),
  tensor("a dimension of null", { shape: "[null]" }, /whole number/),
  tensor("a dimension past 2^53", { shape: "[9007199254740993,0]", data_offsets: "[0,0]" }, /past 2\^53/, 0),
  tensor("dimensions that multiply past 2^64 to 1", { shape: "[4294967296,4294967296,1]" }, /more than 2\^53/),
  tensor(
    "dimensions past 2^53 before a 0",
    { shape: "[134217728,134217728,0]", data_offsets: "[0,0]" },
    /than 2\^53/,
    0,
  ),
  tensor("bits past 2^53", { shape: "[1125899906842624]" }, /more than 2\^53/),
  tensor("half a byte", { dtype: '"F4"', shape: "[3]", data_offsets: "[0,2]" }, /no whole number of bytes/, 2),
  tensor("six bits", { dtype: '"F6_E2M3"', shape: "[1]", data_offsets: "[0,1]" }, /no whole number of bytes/, 1),
  tensor("a shape of fewer bytes", { shape: "[0]" }, /takes 0 bytes/),
  tensor("a shape of more bytes", { shape: "[2]" }, /takes 8 bytes/),
  tensor("a scalar of too many bytes", { shape: "[]", data_offsets: "[0,8]" }, /takes 4 bytes/, 8),
];

const offsets: MalformedFile[] = [
  tensor("one offset", { data_offsets: "[4]" }, /must be two numbers/),
  tensor("no offset", { data_offsets: "[]" }, /must be two numbers/),
  tensor("three offsets", { data_offsets: "[0,4,4]" }, /must be two numbers/),
  tensor("offsets in an object", { data_offsets: '{"0":0,"1":4}' }, /expected "\["/),
  tensor("an offset of -0", { data_offsets: "[-0,4]" }, /whole number/),
  tensor("a negative offset", { data_offsets: "[-4,0]" }, /whole number/),
  tensor("an offset of 0.5", { data_offsets: "[0.5,4.5]" }, /whole number/),
  tensor("offsets the wrong way round", { data_offsets: "[4,0]" }, /hold -4/),
  tensor("an offset past 2^53", { data_offsets: "[18446744073709551612,0]" }, /past 2\^53/),
  tensor("a hole at the start", { data_offsets: "[4,8]" }, /leaves a hole before byte 0/, 8),
  pair("a hole between", [0, 2], [3, 5], /leaves a hole before byte 2/, 5),
  pair("an overlap", [0, 3], [2, 5], /overlaps byte 3/, 5),
  pair("one range twice", [0, 4], [0, 4], /overlaps byte 4/, 4),
  pair("one range inside another", [0, 6], [2, 4], /overlaps byte 6/, 6),
  pair("an empty tensor inside another", [0, 4], [2, 2], /overlaps byte 4/, 4),
  pair("an empty tensor past the end", [0, 4], [5, 5], /leaves a hole before byte 4/, 4),
  text("bytes after the last tensor", `{${A}}`, /trailing bytes/, 5),
  text("bytes and no tensor", "{}", /trailing bytes/, 1),
  text("a byte too few", `{${A}}`, /file is cut/, 3),
  text("no data at all", `{${A}}`, /file is cut/, 0),
];

export const malformedFiles: readonly MalformedFile[] = [
  ...framing,
  ...json,
  ...duplicates,
  ...metadata,
  ...entries,
  ...offsets,
];

/** One-element F32 tensors of these names, in one shard. */
export function shard(...names: string[]): Uint8Array {
  return encodeSafetensors(names.map((name) => ({ name, dtype: "F32", shape: [1], data: new Uint8Array(4) })));
}

const INDEX = "model.safetensors.index.json";

function folder(
  name: string,
  index: unknown,
  says: RegExp,
  files: MalformedFolder["files"] = { "1.safetensors": shard("a"), "2.safetensors": shard("b") },
  blame: Pick<MalformedFolder, "error" | "file"> = { error: "SafetensorsError", file: INDEX },
): MalformedFolder {
  const content = typeof index === "string" || index instanceof Uint8Array ? index : JSON.stringify(index);
  return { name, files: { ...files, [INDEX]: content }, says, ...blame };
}

const weightMap = { a: "1.safetensors", b: "2.safetensors" };

const shardNames = [
  "../1.safetensors",
  "..",
  "x/../../1.safetensors",
  "/etc/1.safetensors",
  "x//1.safetensors",
  "./1.safetensors",
  "..\\1.safetensors",
  "C:1.safetensors",
  "https://example.com/1.safetensors",
  "1\0.safetensors",
  "",
].map((name) => folder(`a shard called ${JSON.stringify(name)}`, { weight_map: { a: name } }, /not a plain relative/));

export const malformedFolders: readonly MalformedFolder[] = [
  ...shardNames,
  folder("a shard that is no safetensors file", { weight_map: { a: "pytorch_model.bin" } }, /does not end in/),
  folder(
    "10,001 shards",
    { weight_map: Object.fromEntries(Array.from({ length: 10_001 }, (_, i) => [`t${i}`, `${i}.safetensors`])) },
    /more than 10000 shards/,
  ),
  folder("a tensor that no shard holds", { weight_map: { ...weightMap, c: "2.safetensors" } }, /no shard holds it/),
  folder("a tensor in another shard", { weight_map: { a: "2.safetensors", b: "1.safetensors" } }, /it is in 1\.safe/),
  folder(
    "a tensor in two shards",
    { weight_map: weightMap },
    /"a" is in 1\.safetensors as well/,
    { "1.safetensors": shard("a"), "2.safetensors": shard("a", "b") },
    { error: "SafetensorsError", file: "2.safetensors" },
  ),
  folder("a tensor twice in weight_map", '{"weight_map":{"a":"1.safetensors","a":"2.safetensors"}}', /appears twice/),
  folder(
    "a missing shard",
    { weight_map: weightMap },
    /names this shard, and it is not there/,
    { "1.safetensors": shard("a") },
    { error: "SourceError", file: "2.safetensors" },
  ),
  folder(
    "a shard with a malformed header",
    { weight_map: weightMap },
    /trailing bytes/,
    { "1.safetensors": shard("a"), "2.safetensors": safetensorsFile("{}", 1) },
    { error: "SafetensorsError", file: "2.safetensors" },
  ),
  folder("a total_size too large", { metadata: { total_size: 9 }, weight_map: weightMap }, /total_size is 9.*8 bytes/),
  folder("a total_size too small", { metadata: { total_size: 4 }, weight_map: weightMap }, /total_size is 4.*8 bytes/),
  folder("a total_size that is text", { metadata: { total_size: "8" }, weight_map: weightMap }, /expected a number/),
  folder("metadata that is text", { metadata: "8", weight_map: weightMap }, /expected "\{"/),
  folder("an empty index", "", /expected "\{", found the end/),
  folder("an index that is cut", '{"weight_map":{"a":"1.safe', /not closed/),
  folder("an index with something after it", '{"weight_map":{"a":"1.safetensors"}} x', /follows the end/),
  folder("an index that is an array", [weightMap], /expected "\{"/),
  folder("an index that is not UTF-8", latin1('{"weight_map":{"a\xff":"1.safetensors"}}'), /not valid UTF-8/),
  folder("no weight_map", { metadata: { total_size: 8 } }, /has no weight_map/),
  folder("an empty weight_map", { weight_map: {} }, /weight_map is empty/),
  folder("a weight_map that is an array", { weight_map: ["1.safetensors"] }, /expected "\{"/),
  folder("a weight_map of numbers", { weight_map: { a: 1 } }, /expected "\\""/),
  folder("a weight_map of lists", { weight_map: { a: ["1.safetensors"] } }, /expected "\\""/),
  folder("a __proto__ that no shard holds", '{"weight_map":{"__proto__":"1.safetensors"}}', /no shard holds it/),
  {
    name: "neither index nor model.safetensors",
    files: { "config.json": "{}", "pytorch_model.bin": "" },
    says: /not found, and neither is model\.safetensors\.index\.json/,
    error: "SourceError",
    file: "model.safetensors",
  },
];
