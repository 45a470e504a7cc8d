/**
 * A checkpoint folder's tensors, wherever they lie: one `model.safetensors`, or shards listed by
 * `model.safetensors.index.json` (`{"metadata": {"total_size": bytes}, "weight_map": {tensor: shard}}`).
 */
import type { ByteFile } from "../base/bytes.ts";
import { AbortError, SafetensorsError, SourceError } from "../base/errors.ts";
import { decodeUtf8, JsonReader, quote } from "./json.ts";
import { readHeader, type TensorInfo } from "./safetensors.ts";

const SINGLE = "model.safetensors";
const INDEX = "model.safetensors.index.json";
const MAX_SHARDS = 10_000;
const MAX_INDEX_BYTES = 100_000_000;
const HEADERS_AT_ONCE = 8;

export interface CheckpointTensor extends TensorInfo {
  readonly file: ByteFile;
}

export interface Checkpoint {
  /** By name; within a file in the order of the data, so that reading them in turn reads each file forward. */
  readonly tensors: Map<string, CheckpointTensor>;
  readonly files: ByteFile[];
  /** Bytes of all tensors' data, headers not counted. */
  readonly bytes: number;
}

type Open = (name: string, signal?: AbortSignal) => Promise<ByteFile | null>;

/**
 * Finds the checkpoint's files and checks every header; no tensor data is read. An index, where there is one, goes
 * before `model.safetensors`. A tensor that a listed shard holds and the index does not name belongs to the
 * checkpoint, as in Hugging Face transformers, but does not count towards `total_size`.
 * @throws SafetensorsError for a file or an index that breaks a rule; SourceError for files that are not there or
 * cannot be read; AbortError.
 */
export async function openCheckpoint(open: Open, signal?: AbortSignal): Promise<Checkpoint> {
  const indexFile = await open(INDEX, signal);
  if (indexFile) {
    const index = await readIndex(indexFile, signal);
    const shards = [...new Set(index.shardOf.values())];
    const checkpoint = merge(await openShards(shards, open, signal));
    checkIndex(index, checkpoint.tensors);
    return checkpoint;
  }
  const file = await open(SINGLE, signal);
  if (!file) {
    const hint = "If the model is published only as .bin or .gguf, look for a safetensors version of it.";
    throw new SourceError(SINGLE, `not found, and neither is ${INDEX}: one of the two must be in the folder. ${hint}`);
  }
  return merge([{ file, tensors: await readHeader(file, signal) }]);
}

interface Index {
  readonly file: string;
  /** The shard's file name, by tensor name. */
  readonly shardOf: Map<string, string>;
  readonly totalSize: number | undefined;
}

async function readIndex(file: ByteFile, signal?: AbortSignal): Promise<Index> {
  const fail = failing(file.name);
  if (file.size > MAX_INDEX_BYTES) fail(`it has ${file.size} bytes (at most ${MAX_INDEX_BYTES})`);
  const text = decodeUtf8(await file.read(0, file.size, signal));
  if (text === null) return fail("it is not valid UTF-8");
  const json = new JsonReader(text, (message) => fail(`it is not valid: ${message}`));
  let shardOf: Map<string, string> | undefined;
  let totalSize: number | undefined;
  json.object((key) => {
    if (key === "weight_map") shardOf = readWeightMap(json, fail);
    else if (key === "metadata") {
      json.object((field) => {
        if (field === "total_size") totalSize = json.number();
        else json.skip();
      });
    } else json.skip();
  });
  json.end();
  if (!shardOf) return fail("it has no weight_map");
  if (shardOf.size === 0) fail("its weight_map is empty");
  return { file: file.name, shardOf, totalSize };
}

function readWeightMap(json: JsonReader, fail: Fail): Map<string, string> {
  const shardOf = new Map<string, string>();
  const shards = new Set<string>();
  json.object((tensor) => {
    const shard = json.string();
    if (!shards.has(shard)) {
      checkShardName(shard, fail);
      shards.add(shard);
      if (shards.size > MAX_SHARDS) fail(`it names more than ${MAX_SHARDS} shards`);
    }
    shardOf.set(tensor, shard);
  });
  return shardOf;
}

/** A shard is a `.safetensors` file in the folder or below it. Anything that could lead out of it is refused. */
function checkShardName(shard: string, fail: Fail): void {
  const leavesFolder = shard.split("/").some((part) => part === "" || part === "." || part === "..");
  if (leavesFolder || /[\\:\u0000-\u001f]/.test(shard)) {
    fail(`the shard name ${quote(shard)} is not a plain relative path inside the folder`);
  }
  if (!shard.endsWith(".safetensors")) fail(`the shard name ${quote(shard)} does not end in .safetensors`);
}

interface Shard {
  readonly file: ByteFile;
  readonly tensors: Map<string, TensorInfo>;
}

/** Reads the headers of all shards, a few at a time; the first failure stops the others. */
async function openShards(names: readonly string[], open: Open, signal?: AbortSignal): Promise<Shard[]> {
  const stop = new AbortController();
  const either = signal ? AbortSignal.any([signal, stop.signal]) : stop.signal;
  const shards = new Array<Shard>(names.length);
  let next = 0;
  const work = async (): Promise<void> => {
    while (next < names.length && !either.aborted) {
      const i = next++;
      const file = await open(names[i]!, either);
      if (!file) {
        const message = `${INDEX} names this shard, and it is not there. Download the whole folder, all of one revision.`;
        throw new SourceError(names[i]!, message);
      }
      shards[i] = { file, tensors: await readHeader(file, either) };
    }
  };
  try {
    await Promise.all(Array.from({ length: Math.min(HEADERS_AT_ONCE, names.length) }, work));
  } catch (error) {
    stop.abort();
    throw error;
  }
  if (signal?.aborted) throw new AbortError("Reading the checkpoint's headers", signal.reason);
  return shards;
}

function merge(shards: readonly Shard[]): Checkpoint {
  const tensors = new Map<string, CheckpointTensor>();
  let bytes = 0;
  for (const { file, tensors: held } of shards) {
    for (const tensor of held.values()) {
      const other = tensors.get(tensor.name)?.file.name;
      if (other !== undefined) failing(file.name)(`tensor ${quote(tensor.name)} is in ${other} as well`);
      tensors.set(tensor.name, { ...tensor, file });
      bytes += tensor.end - tensor.begin;
    }
  }
  return { tensors, files: shards.map((shard) => shard.file), bytes };
}

function checkIndex(index: Index, tensors: ReadonlyMap<string, CheckpointTensor>): void {
  const fail = failing(index.file);
  let bytes = 0;
  for (const [name, shard] of index.shardOf) {
    const tensor = tensors.get(name);
    if (tensor?.file.name !== shard) {
      const where = tensor ? `it is in ${tensor.file.name}` : "no shard holds it";
      fail(`weight_map puts tensor ${quote(name)} in ${shard}, and ${where}`);
    } else bytes += tensor.end - tensor.begin;
  }
  if (index.totalSize !== undefined && index.totalSize !== bytes) {
    fail(`metadata.total_size is ${index.totalSize}, and the tensors it lists take ${bytes} bytes`);
  }
}

type Fail = (message: string) => never;

function failing(file: string): Fail {
  return (message) => {
    const advice = "Index and shards must be of one revision: download them again together.";
    throw new SafetensorsError(file, `${message}. ${advice}`);
  };
}
