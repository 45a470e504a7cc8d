import { f16ToNumber, numberToF16 } from "../../src/base/half.ts";
import type { CacheFormat } from "../../src/kernels/batch.ts";
import { packed, rounded } from "./storage.ts";
import type { Random } from "./random.ts";

/** A layer's cache as CacheView describes it. */
export interface PoolShape {
  readonly format: CacheFormat;
  readonly pageSize: number;
  readonly heads: number;
  readonly headDim: number;
  readonly valueDim?: number;
}

/** A key and a value of one head. */
export interface Entry {
  readonly key: Float64Array;
  readonly value: Float64Array;
}

/** Pages that belong to nobody. */
const SPARE_PAGES = 3;
const LARGEST = 127;

/**
 * One layer's pages on the CPU, in the layout of `CacheView`. Sequences get their pages in a random order; everything
 * starts as NaN, a different one in every word.
 */
export class Pool {
  readonly pages: readonly (readonly number[])[];
  readonly words: Uint32Array<ArrayBuffer>;
  /** Elements of keys before the values. */
  readonly valueOffset: number;
  /** Words before the scales: int8 only. */
  readonly scaleOffset: number;
  /** The longest page table. */
  readonly pagesPerSequence: number;
  private readonly valueDim: number;
  private readonly perWord: number;

  constructor(
    readonly shape: PoolShape,
    /** Entries that each sequence has room for. */
    lengths: readonly number[],
    random: Random,
  ) {
    const { format, pageSize, heads, headDim, valueDim = headDim } = shape;
    this.valueDim = valueDim;
    this.perWord = { f32: 1, f16: 2, int8: 4 }[format];
    const entryWords = (headDim + valueDim) / this.perWord + (format === "int8" ? 1 : 0);
    const counts = lengths.map((n) => Math.ceil(n / pageSize));
    const total = counts.reduce((a, b) => a + b, 0) + SPARE_PAGES;
    const order = random.permutation(total);
    this.pages = counts.map((n) => order.splice(0, n));
    this.pagesPerSequence = Math.max(...counts, 1) + 1;
    const entries = total * heads * pageSize;
    this.valueOffset = entries * headDim;
    this.scaleOffset = (entries * (headDim + valueDim)) / this.perWord;
    this.words = new Uint32Array(entries * entryWords).map((_, i) => untouched(i));
  }

  /** The same pages with other contents: what a kernel made of them. */
  with(words: Uint32Array<ArrayBuffer>): Pool {
    return Object.assign(Object.create(Pool.prototype) as Pool, this, { words });
  }

  /** What `LayerCache` says of this pool besides its buffer. */
  get offsets(): { valueOffset: number; scaleOffset?: number } {
    const { valueOffset, scaleOffset } = this;
    return this.shape.format === "int8" ? { valueOffset, scaleOffset } : { valueOffset };
  }

  /** Where an entry is: key and value in elements, the word of its scales. */
  place(slot: number, index: number, head: number): { key: number; value: number; scale: number } {
    const { pageSize, heads, headDim } = this.shape;
    const page = this.pages[slot]![Math.floor(index / pageSize)]!;
    const entry = (page * heads + head) * pageSize + (index % pageSize);
    return {
      key: entry * headDim,
      value: this.valueOffset + entry * this.valueDim,
      scale: this.scaleOffset + entry,
    };
  }

  /** Stores an entry and gives it back as it will be read. */
  store(slot: number, index: number, head: number, key: ArrayLike<number>, value: ArrayLike<number>): Entry {
    const place = this.place(slot, index, head);
    const [k, v] = [this.storeVector(place.key, key), this.storeVector(place.value, value)];
    if (this.shape.format === "int8") this.words[place.scale] = k.scaleBits | (v.scaleBits << 16);
    return { key: k.read, value: v.read };
  }

  /** An entry as it is read, and its scales (int8; else 1); its words become what they were before anything was stored. */
  take(slot: number, index: number, head: number): Entry & { keyScale: number; valueScale: number } {
    const place = this.place(slot, index, head);
    let [keyScale, valueScale] = [1, 1];
    if (this.shape.format === "int8") {
      const scales = this.words[place.scale]!;
      [keyScale, valueScale] = [f16ToNumber(scales & 0xffff), f16ToNumber(scales >>> 16)];
      this.words[place.scale] = untouched(place.scale);
    }
    const key = this.takeVector(place.key, this.shape.headDim, keyScale);
    return { key, value: this.takeVector(place.value, this.valueDim, valueScale), keyScale, valueScale };
  }

  private storeVector(at: number, values: ArrayLike<number>): { read: Float64Array; scaleBits: number } {
    const { format } = this.shape;
    if (format !== "int8") {
      this.words.set(packed(values, format), at / this.perWord);
      return { read: Float64Array.from(values, (v) => rounded(v, format)), scaleBits: 0 };
    }
    const { integers, scaleBits } = quantised(values);
    this.words.set(new Uint32Array(integers.buffer), at / this.perWord);
    return { read: Float64Array.from(integers, (q) => q * f16ToNumber(scaleBits)), scaleBits };
  }

  private takeVector(at: number, count: number, scale: number): Float64Array {
    const first = at / this.perWord;
    const words = this.words.slice(first, first + count / this.perWord);
    words.forEach((_, i) => (this.words[first + i] = untouched(first + i)));
    if (this.shape.format === "f32") return Float64Array.from(new Float32Array(words.buffer));
    if (this.shape.format === "f16") return Float64Array.from(new Uint16Array(words.buffer), f16ToNumber);
    return Float64Array.from(new Int8Array(words.buffer), (q) => q * scale);
  }
}

/** A vector as bytes and the f16 bits of its one scale: largest magnitude · (1 / 127) in f32, as the kernel has it. */
export function quantised(values: ArrayLike<number>): { integers: Int8Array<ArrayBuffer>; scaleBits: number } {
  const all = Array.from(values);
  const top = all.reduce((most, v) => Math.max(most, Math.abs(v)), 0);
  const scaleBits = Math.min(numberToF16(Math.fround(Math.fround(top) * Math.fround(1 / LARGEST))), 0x7bff);
  const scale = f16ToNumber(scaleBits);
  const nearest = (v: number): number => Math.sign(v) * Math.min(LARGEST, Math.floor(Math.abs(v) / scale + 0.5));
  return { integers: Int8Array.from(all, (v) => (scale === 0 ? 0 : nearest(v))), scaleBits };
}

/** A word that nothing stored: a NaN, as f32 and as two f16. */
function untouched(word: number): number {
  return 0x7fc07e00 + (word & 0xff);
}
