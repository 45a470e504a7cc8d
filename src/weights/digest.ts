/**
 * A name for weights that tells models apart: for every tensor that is read its name, type, shape, and a sample of its bytes
 * (64 runs of 16 over its whole length, or all of a tensor of 1 KiB). A checkpoint cut into other shards has the same one.
 * Two that differ in a few weights may have the same as well, and it withstands no forgery: it is against mistakes.
 */
export class WeightDigest {
  private low = 0;
  private high = 0;
  private tensor: { readonly name: string; readonly seed: number } | undefined;

  /** Bytes of a tensor from `offset` on; `begin` and `end` are where it is in its file. */
  add(tensor: SampledTensor, bytes: Uint8Array, offset: number): void {
    if (this.tensor?.name !== tensor.name) this.tensor = { name: tensor.name, seed: this.describe(tensor) };
    const { seed } = this.tensor;
    const total = tensor.end - tensor.begin;
    for (const [from, to] of runs(total, offset, offset + bytes.length)) {
      for (let at = from; at < to; at++) this.mix(seed, at, bytes[at - offset]!);
    }
  }

  /** 16 hexadecimal digits. */
  get value(): string {
    return hex(this.low) + hex(this.high);
  }

  private describe({ name, dtype, shape }: SampledTensor): number {
    let seed = 0x2545f491;
    for (const character of `${name} ${dtype} ${shape.join()}`) seed = scramble(seed ^ character.codePointAt(0)!);
    return seed;
  }

  /** Sums, so that the order in which bytes come does not matter. */
  private mix(seed: number, at: number, byte: number): void {
    const word = scramble(scramble(seed ^ at) ^ Math.floor(at / 2 ** 32) ^ (byte << 8));
    this.low = (this.low + word) >>> 0;
    this.high = (this.high + scramble(word ^ 0x9e3779b9)) >>> 0;
  }
}

interface SampledTensor {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly begin: number;
  readonly end: number;
}

const RUNS = 64;
const RUN_BYTES = 16;

/** The sampled runs of a tensor of `total` bytes that lie in [begin, end), cut to it. */
function* runs(total: number, begin: number, end: number): Iterable<[from: number, to: number]> {
  const whole = total <= RUNS * RUN_BYTES;
  const step = whole ? RUN_BYTES : (total - RUN_BYTES) / (RUNS - 1);
  for (let i = 0; i < RUNS; i++) {
    const at = Math.floor(i * step);
    const [from, to] = [Math.max(at, begin), Math.min(at + RUN_BYTES, end, total)];
    if (from < to) yield [from, to];
  }
}

/** The finisher of MurmurHash3 (Appleby, public domain). */
function scramble(word: number): number {
  let x = word;
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return (x ^ (x >>> 16)) >>> 0;
}

const hex = (x: number): string => x.toString(16).padStart(8, "0");
