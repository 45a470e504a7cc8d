import { f16ToNumber } from "../../src/base/half.ts";
import { packed } from "./storage.ts";
import type { Random } from "./random.ts";

/** A layer's cache as CacheView describes it. */
export interface PoolShape {
  readonly format: "f32" | "f16";
  readonly pageSize: number;
  readonly heads: number;
  readonly headDim: number;
}

/** Pages that belong to nobody. */
const SPARE_PAGES = 3;

/**
 * One layer's pages on the CPU: keys [page][head][pageSize][headDim], values likewise behind them. Sequences get their
 * pages in a random order; everything starts as NaN, a different one in every word.
 */
export class Pool {
  readonly pages: readonly (readonly number[])[];
  readonly words: Uint32Array<ArrayBuffer>;
  /** Elements of keys before the values. */
  readonly valueOffset: number;
  /** The longest page table. */
  readonly pagesPerSequence: number;

  constructor(
    readonly shape: PoolShape,
    /** Entries that each sequence has room for. */
    lengths: readonly number[],
    random: Random,
    words?: Uint32Array<ArrayBuffer>,
  ) {
    const { format, pageSize, heads, headDim } = shape;
    const counts = lengths.map((n) => Math.ceil(n / pageSize));
    const perElement = format === "f32" ? 1 : 2;
    const pageElements = heads * pageSize * headDim;
    const total = words
      ? (words.length * perElement) / 2 / pageElements
      : counts.reduce((a, b) => a + b, 0) + SPARE_PAGES;
    const order = random.permutation(total);
    this.pages = counts.map((n) => order.splice(0, n));
    this.pagesPerSequence = Math.max(...counts, 1) + 1;
    this.valueOffset = total * pageElements;
    this.words = words ?? new Uint32Array((2 * this.valueOffset) / perElement).map((_, i) => 0x7fc07e00 + (i & 0xff));
  }

  /** Where an entry's key and value are, in elements. */
  place(slot: number, index: number, head: number): { key: number; value: number } {
    const { pageSize, heads, headDim } = this.shape;
    const page = this.pages[slot]![Math.floor(index / pageSize)]!;
    const key = ((page * heads + head) * pageSize + (index % pageSize)) * headDim;
    return { key, value: key + this.valueOffset };
  }

  /** Stores [headDim] values at an element. */
  put(at: number, values: ArrayLike<number>): void {
    const { format } = this.shape;
    this.words.set(packed(values, format), format === "f32" ? at : at / 2);
  }

  /** The [headDim] values at an element; their words become what they were before anything was stored. */
  take(at: number): number[] {
    const { format, headDim } = this.shape;
    const first = format === "f32" ? at : at / 2;
    const words = this.words.slice(first, first + (format === "f32" ? headDim : headDim / 2));
    words.forEach((_, i) => (this.words[first + i] = 0x7fc07e00 + ((first + i) & 0xff)));
    return format === "f32"
      ? [...new Float32Array(words.buffer)]
      : [...new Uint16Array(words.buffer)].map((bits) => f16ToNumber(bits));
  }
}
