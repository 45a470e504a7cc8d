/** A checkpoint that exists only while it is read: config.json, and tensors whose bytes are computed where they are asked for. */
import { numberToBf16 } from "../base/half.ts";
import type { ByteFile, Repo } from "../base/bytes.ts";
import { publishedBiasShape, publishedShape, type WeightTable } from "../models/family.ts";
import { findFamily } from "../models/index.ts";
import { CHUNK_BYTES, checkRange, readAll } from "../store/range.ts";
import { throwIfAborted } from "../store/abort.ts";
import type { MadeModel } from "./models.ts";

/** A tensor in BF16: normal with this deviation around 0, or one value everywhere. */
export interface MadeTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly fill: { readonly deviation: number } | { readonly value: number };
}

/**
 * Every tensor that the family's own table asks for. Matrices have the deviation 1/√inFeatures, so that activations keep
 * their size through the layers; gains are 1, biases 0.
 */
export function madeTensors(table: WeightTable): MadeTensor[] {
  const tensors = new Map<string, MadeTensor>();
  const add = (tensor: MadeTensor): void => void tensors.set(tensor.name, tensor);
  for (const spec of table.values()) {
    if (spec.kind === "vector") {
      const { tensor: name, width, shape = [width] } = spec;
      if (name !== undefined) add({ name, shape, fill: { value: name.endsWith("bias") ? 0 : 1 } });
      continue;
    }
    for (const placement of spec.tensors) {
      const shape = publishedShape(spec, placement);
      add({ name: placement.tensor, shape, fill: { deviation: spec.inFeatures ** -0.5 } });
    }
    for (const placement of spec.bias ?? []) {
      add({ name: placement.tensor, shape: publishedBiasShape(placement), fill: { value: 0 } });
    }
  }
  return [...tensors.values()];
}

/** The folder of a made model. The same seed gives the same bytes, whatever ranges they are read in. */
export function madeRepo({ name, config }: MadeModel, seed = 1): Repo {
  const { family, json } = findFamily(config);
  const weights = new MadeFile(madeTensors(family.weightTable(family.parseConfig(json))), seed);
  const configJson = new TextEncoder().encode(JSON.stringify(config));
  return {
    label: `${name}, made`,
    open: (file) => {
      if (file === "config.json") return Promise.resolve(memoryFile(file, configJson));
      return Promise.resolve(file === weights.name ? weights : null);
    },
  };
}

/** A repo's weights and config alone, without end tokens: what is measured takes ids, and must not stop early. */
export function endlessRepo(repo: Repo): Repo {
  return {
    label: repo.label,
    open: async (name, signal) => {
      if (name === "config.json") return withoutEnd(await repo.open(name, signal), signal);
      return /\.safetensors(\.index\.json)?$/.test(name) ? repo.open(name, signal) : null;
    },
  };
}

async function withoutEnd(file: ByteFile | null, signal?: AbortSignal): Promise<ByteFile | null> {
  if (!file) return null;
  const bytes = await file.read(0, file.size, signal);
  try {
    const config = JSON.parse(new TextDecoder().decode(bytes)) as Record<string, unknown>;
    delete config["eos_token_id"];
    return memoryFile(file.name, new TextEncoder().encode(JSON.stringify(config)));
  } catch {
    return file; // the loader says what is wrong with it
  }
}

function memoryFile(name: string, bytes: Uint8Array): ByteFile {
  const file: ByteFile = {
    name,
    size: bytes.length,
    read: (begin, end, signal) => readAll(file, begin, end, signal),

    async *stream(begin, end) {
      checkRange(file, begin, end);
      yield bytes.subarray(begin, end);
    },
  };
  return file;
}

/** One safetensors file; no more of it is in memory than a chunk. */
class MadeFile implements ByteFile {
  readonly name = "model.safetensors";
  readonly size: number;
  private readonly header: Uint8Array;
  /** In file order, with the offset of each one's first byte in the file. */
  private readonly tensors: { begin: number; end: number; seed: number; values: Uint16Array }[] = [];

  constructor(tensors: readonly MadeTensor[], seed: number) {
    const tables = new Map<number, Uint16Array>();
    const entries: string[] = [];
    let offset = 0;
    for (const { name, shape, fill } of tensors) {
      const bytes = 2 * shape.reduce((product, n) => product * n, 1);
      entries.push(
        `${JSON.stringify(name)}:${JSON.stringify({ dtype: "BF16", shape, data_offsets: [offset, offset + bytes] })}`,
      );
      this.tensors.push({
        begin: offset,
        end: offset + bytes,
        seed: mix(seed + this.tensors.length),
        values: "value" in fill ? Uint16Array.of(numberToBf16(fill.value)) : normals(tables, fill.deviation),
      });
      offset += bytes;
    }
    const json = new TextEncoder().encode(`{${entries.join(",")}}`);
    const padded = Math.ceil(json.length / 8) * 8;
    this.header = new Uint8Array(8 + padded).fill(0x20);
    new DataView(this.header.buffer).setBigUint64(0, BigInt(padded), true);
    this.header.set(json, 8);
    for (const tensor of this.tensors) {
      tensor.begin += this.header.length;
      tensor.end += this.header.length;
    }
    this.size = this.header.length + offset;
  }

  read(begin: number, end: number, signal?: AbortSignal): Promise<Uint8Array> {
    return readAll(this, begin, end, signal);
  }

  async *stream(begin: number, end: number, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
    checkRange(this, begin, end);
    for (let at = begin; at < end; at += CHUNK_BYTES) {
      throwIfAborted(`Reading ${this.name}`, signal);
      yield this.bytes(at, Math.min(end, at + CHUNK_BYTES));
    }
  }

  private bytes(begin: number, end: number): Uint8Array {
    const bytes = new Uint8Array(end - begin);
    bytes.set(this.header.subarray(Math.min(begin, this.header.length), end));
    for (const tensor of this.tensors) {
      const from = Math.max(begin, tensor.begin);
      const to = Math.min(end, tensor.end);
      if (from >= to) continue;
      const first = (from - tensor.begin) >> 1;
      const drawn = draw(tensor.values, tensor.seed, first, Math.ceil((to - tensor.begin) / 2));
      const skipped = from - tensor.begin - 2 * first;
      bytes.set(new Uint8Array(drawn.buffer).subarray(skipped, skipped + to - from), from - begin);
    }
    return bytes;
  }
}

/** Elements [first, end) of a tensor: each is a function of its index alone. */
function draw(values: Uint16Array, seed: number, first: number, end: number): Uint16Array {
  const drawn = new Uint16Array(end - first);
  const mask = values.length - 1;
  for (let i = 0; i < drawn.length; i++) drawn[i] = values[mix(seed + first + i) & mask]!;
  return drawn;
}

/** A bijection of 32-bit integers in which every bit of the input moves every bit of the output (MurmurHash3's end). */
function mix(x: number): number {
  let h = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** 65,536 values of a normal distribution in BF16 (Box and Muller 1958: 256 radii by 256 angles), one table a deviation. */
function normals(tables: Map<number, Uint16Array>, deviation: number): Uint16Array {
  const known = tables.get(deviation);
  if (known) return known;
  const table = Uint16Array.from({ length: 1 << 16 }, (_, i) => {
    const radius = Math.sqrt(-2 * Math.log(((i >> 8) + 0.5) / 256));
    return numberToBf16(deviation * radius * Math.cos((2 * Math.PI * ((i & 255) + 0.5)) / 256));
  });
  tables.set(deviation, table);
  return table;
}
