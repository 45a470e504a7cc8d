import { invariant } from "../base/assert.ts";

/** What a chain starts from, before its first page: a node, or the salt that says which model and cache it belongs to. */
export type ChainEnd = PrefixNode | string;

/** The tokens of one full page in their place after the pages before it, and where they are. */
export interface PrefixNode {
  readonly parent: ChainEnd;
  readonly hash: string;
  /** The page's token ids. */
  readonly ids: readonly number[];
  /** By pool, the page that holds them; none where that pool has let go of it. */
  readonly pages: (number | undefined)[];
  /** What keeps the node: its pages, the nodes that follow it, and sequences whose chain ends here. */
  uses: number;
}

/** Name of a page from the name of its parent (or a salt) and its ids. */
export type ChainHash = (parent: string, ids: readonly number[]) => string;

/**
 * Which pages hold which tokens after which others. A node is found by a hash of its whole chain: the parent's hash and its
 * own ids, down to a salt for whatever else decides what a page holds (weights, layout, cache format, adapter, RoPE regime).
 * Parent and ids are compared as well, so two chains of one hash are only slower to tell apart, never confused.
 *
 * A chain may have gaps: pages that lie behind a window are let go while those that follow them are still of use.
 */
export class PrefixIndex {
  private readonly buckets = new Map<string, PrefixNode[]>();
  private count = 0;

  /** Tests give a bad hash here, to see that nothing depends on a good one. */
  constructor(private readonly hash: ChainHash = chainHash) {}

  /** Nodes. */
  get size(): number {
    return this.count;
  }

  /** The node of `ids` after `parent`. */
  find(parent: ChainEnd, ids: readonly number[]): PrefixNode | undefined {
    const bucket = this.buckets.get(this.hash(nameOf(parent), ids));
    return bucket?.find((node) => node.parent === parent && sameIds(node.ids, ids));
  }

  /** Moves a held end of a chain one page on: the node of `ids` after it, made where there is none, is held in its place. */
  extend(end: ChainEnd, ids: readonly number[]): PrefixNode {
    const node = this.find(end, ids) ?? this.insert(end, ids);
    this.hold(node);
    this.release(end);
    return node;
  }

  /** A held node stays. */
  hold(end: ChainEnd): void {
    if (typeof end !== "string") end.uses++;
  }

  /** One use less; a node without any is forgotten, and so are those before it that were there for its sake. */
  release(end: ChainEnd): void {
    let node = end;
    while (typeof node !== "string") {
      invariant(node.uses > 0, "a node of the prefix index is released once too often");
      if (--node.uses > 0) return;
      this.forget(node);
      node = node.parent;
    }
  }

  private insert(parent: ChainEnd, ids: readonly number[]): PrefixNode {
    const node: PrefixNode = { parent, ids, hash: this.hash(nameOf(parent), ids), pages: [], uses: 0 };
    const bucket = this.buckets.get(node.hash);
    if (bucket) bucket.push(node);
    else this.buckets.set(node.hash, [node]);
    this.hold(parent);
    this.count++;
    return node;
  }

  private forget(node: PrefixNode): void {
    const bucket = this.buckets.get(node.hash)!;
    bucket.splice(bucket.indexOf(node), 1);
    if (bucket.length === 0) this.buckets.delete(node.hash);
    this.count--;
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
