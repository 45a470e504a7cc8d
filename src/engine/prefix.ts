import { invariant } from "../base/assert.ts";

/** What a chain starts from, before its first page: a node, or the salt that says which model and cache it belongs to. */
export type ChainEnd = PrefixNode | string;

/** One full page whose tokens are known, in its place after the pages before it. */
export interface PrefixNode {
  readonly page: number;
  readonly parent: ChainEnd;
  readonly hash: string;
  /** The page's token ids. */
  readonly ids: readonly number[];
  /** Indexed pages that follow this one. */
  children: number;
}

/** Name of a page from the name of its parent (or a salt) and its ids. */
export type ChainHash = (parent: string, ids: readonly number[]) => string;

/**
 * Which page holds which tokens after which others. A page is found by a hash of its whole chain: the parent's hash and its
 * own ids, down to a salt for whatever else decides what a page holds (weights, layout, cache format, adapter, RoPE regime).
 * Parent and ids are compared as well, so two chains of one hash are only slower to tell apart, never confused.
 */
export class PrefixIndex {
  private readonly buckets = new Map<string, PrefixNode[]>();
  private readonly byPage = new Map<number, PrefixNode>();

  /** Tests give a bad hash here, to see that nothing depends on a good one. */
  constructor(private readonly hash: ChainHash = chainHash) {}

  get size(): number {
    return this.byPage.size;
  }

  /** The page that holds `ids` after `parent`. */
  find(parent: ChainEnd, ids: readonly number[]): PrefixNode | undefined {
    const bucket = this.buckets.get(this.hash(nameOf(parent), ids));
    return bucket?.find((node) => node.parent === parent && sameIds(node.ids, ids));
  }

  has(page: number): boolean {
    return this.byPage.has(page);
  }

  /** Adds a page; neither the page nor its chain may be there. */
  insert(parent: ChainEnd, ids: readonly number[], page: number): PrefixNode {
    invariant(!this.byPage.has(page), `page ${page} is in the prefix index already`);
    const node = { page, parent, ids, hash: this.hash(nameOf(parent), ids), children: 0 };
    const bucket = this.buckets.get(node.hash);
    if (bucket) bucket.push(node);
    else this.buckets.set(node.hash, [node]);
    this.byPage.set(page, node);
    if (typeof parent !== "string") parent.children++;
    return node;
  }

  /** Forgets a page; pages that follow it have to be forgotten before. */
  remove(page: number): void {
    const node = this.byPage.get(page);
    invariant(node && node.children === 0, `page ${page} leaves the prefix index before those that follow it`);
    this.byPage.delete(page);
    const bucket = this.buckets.get(node.hash)!;
    bucket.splice(bucket.indexOf(node), 1);
    if (bucket.length === 0) this.buckets.delete(node.hash);
    if (typeof node.parent !== "string") node.parent.children--;
  }
}

const nameOf = (end: ChainEnd): string => (typeof end === "string" ? end : end.hash);

function sameIds(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((id, i) => id === b[i]);
}

/** 64 bits: two lanes of MurmurHash3's mixing (Appleby, public domain), which differ in their seeds and factors. */
export function chainHash(parent: string, ids: readonly number[]): string {
  let a = 0x2f0b4a27;
  let b = 0x6b43a9b5;
  const mix = (word: number): void => {
    const k = Math.imul(word, 0xcc9e2d51);
    a = Math.imul(rotate(a ^ Math.imul(rotate(k, 15), 0x1b873593), 13), 5) + 0xe6546b64;
    const l = Math.imul(word, 0x239b961b);
    b = Math.imul(rotate(b ^ Math.imul(rotate(l, 16), 0x38b34ae5), 17), 5) + 0x561ccd1b;
  };
  for (let i = 0; i < parent.length; i++) mix(parent.charCodeAt(i));
  mix(parent.length);
  for (const id of ids) mix(id);
  mix(ids.length);
  return hex(finish(a ^ b)) + hex(finish(b + Math.imul(a, 0x85ebca6b)));
}

const rotate = (x: number, bits: number): number => (x << bits) | (x >>> (32 - bits));
const hex = (x: number): string => (x >>> 0).toString(16).padStart(8, "0");

function finish(x: number): number {
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return x ^ (x >>> 16);
}
