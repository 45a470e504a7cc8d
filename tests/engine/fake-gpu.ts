import { PagePool } from "../../src/engine/pages.ts";
import type { PrefixIndex } from "../../src/engine/prefix.ts";
import type { SlotSetup, Step } from "../../src/engine/step.ts";
import type { Sequence } from "../../src/engine/sequence.ts";

/** What an entry of the cache depends on: its token and everything before it. */
export type Context = number;

export const START: Context = 0x1234567;
/** What the first entry follows: entries of one rotary regime are of no use in another. */
export const startOf = (regime: number): Context => START + regime;
export const END = 7;

export function extend(context: Context, token: number): Context {
  const x = Math.imul(context ^ (token + 0x51ed), 0x9e3779b1);
  return (x ^ (x >>> 15)) >>> 0;
}

/** The model's draw: few different tokens, so that sequences often agree; END one time in 32. */
export function drawOf(context: Context, temperature: number, seed: number, counter: number): number {
  const mixed = extend(context, temperature === 0 ? 1 : extend(extend(seed, counter), 99));
  return mixed % 32 === 5 ? END : (mixed >>> 8) % 3;
}

/** f32-exact stand-in for the logits of a row, and for a score. */
export const logitOf = (context: Context): number => context >>> 8;
export const scoreOf = (context: Context, token: number): number => extend(context, token + 1000) >>> 8;

interface Entry {
  token: number;
  context: Context;
  /** Came with the page that a fork copied; where it lies past the fork's length it means nothing. */
  copied?: boolean;
}

interface State extends SlotSetup {
  token: number;
  filled: number;
  draws: number;
}

/** A pool that tells who watches of every page it gives. */
export class WatchedPool extends PagePool {
  onGive: (page: number) => void = () => undefined;

  constructor(total: number, seed: number, prefix?: PrefixIndex, number?: number) {
    super(total, seed, prefix, number);
  }

  override allocate(count: number): number[] | null {
    const pages = super.allocate(count);
    for (const page of pages ?? []) this.onGive(page);
    return pages;
  }
}

/** Pages of some layers on the fake GPU, and how far back they see. */
export interface FakePool {
  readonly pages: WatchedPool;
  readonly window: number;
}

/** A pool's side of the GPU. */
class Memory {
  readonly entries: (Entry | undefined)[][];
  readonly writers: (Sequence | undefined)[];
  readonly tables: number[][];

  constructor(
    readonly pool: FakePool,
    slots: number,
  ) {
    this.entries = Array.from({ length: pool.pages.total }, () => []);
    this.writers = Array.from({ length: pool.pages.total }, () => undefined);
    this.tables = Array.from({ length: slots }, () => []);
  }
}

/**
 * The GPU as the scheduler should see it: caches whose entries are tokens and what they depend on. Steps run at once, in the
 * order of their submission, as they do on a queue; results are delivered when the test likes. It throws where
 *  - a row reads an entry that was not written since its page was given, or that belongs to another prefix;
 *  - a page has two writers, or an entry is written twice;
 *  - a page is given away while a step under way touches it, unless that is a page behind a window: the queue's order is
 *    enough for those.
 */
export class FakeGpu {
  readonly underWay: Step[] = [];
  private readonly memories: Memory[];
  private readonly touched = new Map<Step, Set<number>[]>();
  private readonly states: State[] = [];

  constructor(
    pools: readonly FakePool[],
    private readonly pageSize: number,
    private readonly slots: number,
  ) {
    this.memories = pools.map((pool) => new Memory(pool, slots));
    this.memories.forEach(({ pool, entries, writers }, k) => {
      pool.pages.onGive = (page) => {
        for (const [, pages] of this.touched) {
          check(pool.window < Infinity || !pages[k]!.has(page), `page ${page} is given while a step touches it`);
        }
        entries[page] = [];
        writers[page] = undefined;
      };
    });
  }

  /** Runs a step; what it gives is for `commit`. */
  run(step: Step): { tokens: Uint32Array | null; values: Float32Array | null } {
    for (const setup of step.setups) {
      this.states[setup.slot] = { ...setup, token: -1, filled: setup.length, draws: setup.counter };
    }
    for (const { slot, pool, at, pages } of step.growths) {
      pages.forEach((page, i) => (this.memories[pool]!.tables[slot]![at + i] = page));
    }
    const owners = new Map(step.sequences.map((s) => [s.slot, s]));
    const contexts = this.forward(step, owners);
    this.copy(step);
    this.touched.set(step, this.pagesOf(step));
    this.underWay.push(step);
    if (step.transfer) return { tokens: null, values: this.move(step) };
    const results = step.batch.samples.map(({ row, slot, token, masked }) => {
      const context = contexts[row]!;
      const state = this.states[slot]!;
      if (step.head === "logits") return logitOf(context);
      if (step.head === "score") return scoreOf(context, token!);
      check(!masked || step.masks.some((m) => m.slot === slot), "a masked draw without its mask");
      state.token = drawOf(context, state.sampling!.temperature, state.sampling!.seed, state.draws++);
      return state.token;
    });
    for (const { slot, tokens } of step.batch.segments) this.states[slot]!.filled += tokens?.length ?? 1;
    if (step.head === "none") return { tokens: null, values: null };
    if (step.head === "sample" || step.head === "process") return { tokens: Uint32Array.from(results), values: null };
    return { tokens: null, values: Float32Array.from(results) };
  }

  /** The device is lost, and another with nothing in its memory takes its place. */
  lose(): void {
    this.underWay.length = 0;
    this.touched.clear();
    this.states.length = 0;
    for (const { tables, entries, writers } of this.memories) {
      for (const table of tables) table.length = 0;
      for (const page of entries) page.length = 0;
      writers.fill(undefined);
    }
  }

  /** The oldest step is over: its pages may be given away. */
  finish(): Step {
    const step = this.underWay.shift()!;
    this.touched.delete(step);
    return step;
  }

  /** In a layer all rows are written first, then all are read. Returns the context of each row. */
  private forward(step: Step, owners: Map<number, Sequence>): Context[] {
    const fresh: Entry[] = [];
    for (const { slot, tokens } of step.batch.segments) {
      const { filled, token } = this.states[slot]!;
      for (let i = 0; i < (tokens?.length ?? 1); i++) {
        const entry = { token: tokens ? tokens[i]! : token, context: -1 };
        check(entry.token >= 0, "a row takes a token that was never drawn");
        fresh.push(entry);
        for (const memory of this.memories) this.write(memory, owners.get(slot)!, filled + i, entry);
      }
    }
    const contexts: Context[] = [];
    for (const { slot, tokens } of step.batch.segments) {
      const { filled } = this.states[slot]!;
      for (let at = filled; at < filled + (tokens?.length ?? 1); at++) {
        // Pages of the same step may have been filled by another sequence's rows: those come before, in order of segments.
        const entry = fresh[contexts.length]!;
        const before = this.memories.map((memory) => this.see(memory, slot, at));
        check(new Set(before).size === 1, `slot ${slot} has two pasts at entry ${at}`);
        entry.context = extend(before[0]!, entry.token);
        contexts.push(entry.context);
      }
    }
    return contexts;
  }

  /** Reads what a row at `at` sees through the pool's window; what the last entry before it depends on. */
  private see(memory: Memory, slot: number, at: number): Context {
    const first = Math.max(0, at + 1 - memory.pool.window);
    let context = first === 0 ? startOf(this.states[slot]!.regime) : undefined;
    for (let i = first; i < at; i++) {
      const entry = this.at(memory, slot, i);
      const expected: Context = context === undefined ? entry.context : extend(context, entry.token);
      check(entry.context === expected && expected >= 0, `slot ${slot} reads an entry ${i} of another prefix`);
      context = entry.context;
    }
    check(context !== undefined, "a window in which a row sees itself alone has no past to compare");
    return context!;
  }

  private at(memory: Memory, slot: number, at: number): Entry {
    const page = memory.tables[slot]![Math.floor(at / this.pageSize)];
    const entry = page === undefined ? undefined : memory.entries[page]![at % this.pageSize];
    check(entry, `slot ${slot} reads entry ${at}, which nobody has written`);
    return entry!;
  }

  private write(memory: Memory, owner: Sequence, at: number, entry: Entry): void {
    const { entries, writers, tables } = memory;
    const index = Math.floor(at / this.pageSize);
    const page = tables[owner.slot]![index]!;
    const own = owner.tables[this.memories.indexOf(memory)]!.at(index);
    check(page !== undefined && own === page, `entry ${at} has no page of its sequence`);
    check((writers[page] ?? owner) === owner, `page ${page} has two writers`);
    writers[page] = owner;
    const old = entries[page]![at % this.pageSize];
    check(!old || old.copied, `entry ${at} is written twice`);
    entries[page]![at % this.pageSize] = entry;
  }

  private copy({ batch: { copies, windowCopies = [] } }: Step): void {
    [copies, windowCopies].forEach((list, k) => {
      check(!list.some(({ to }) => list.some(({ from }) => from === to)), "a page is copied from and to");
      check(list.length <= this.slots, "more copies than slots");
      check(list.length === (this.memories[k] ? copies.length : 0), "pools do not copy as many pages");
      for (const { from, to } of list) {
        const { entries } = this.memories[k]!;
        entries[to] = entries[from]!.map((entry) => entry && { ...entry, copied: true });
      }
    });
  }

  /** A session's pages out or in: (token, context) of each entry, two words. */
  private move({ transfer, sequences }: Step): Float32Array | null {
    const { pages, bytes } = transfer!;
    const words = bytes ? new Uint32Array(bytes.buffer) : new Uint32Array(2 * this.pageSize * this.memories.length);
    let at = 0;
    pages.forEach((page, k) => {
      if (page === undefined) return;
      const { entries, writers } = this.memories[k]!;
      check(!bytes || writers[page] === undefined, `page ${page} is restored over what was written`);
      if (bytes) writers[page] = sequences[0];
      for (let i = 0; i < this.pageSize; i++, at += 2) {
        if (bytes) entries[page]![i] = { token: words[at]!, context: words[at + 1]! };
        else words.set([entries[page]![i]?.token ?? 0, entries[page]![i]?.context ?? 0], at);
      }
    });
    return bytes ? null : new Float32Array(words.buffer, 0, at);
  }

  private pagesOf({ batch, transfer }: Step): Set<number>[] {
    return this.memories.map(({ tables }, k) => {
      const pages = batch.segments.flatMap(({ slot, tokens }) => {
        const end = this.states[slot]!.filled + (tokens?.length ?? 1);
        return tables[slot]!.slice(0, Math.ceil(end / this.pageSize));
      });
      const copied = ([batch.copies, batch.windowCopies ?? []][k] ?? []).flatMap(({ from, to }) => [from, to]);
      return new Set([...pages, ...copied, ...(transfer?.pages[k] === undefined ? [] : [transfer.pages[k]])]);
    });
  }
}

export function check(condition: unknown, what: string): void {
  if (!condition) throw new Error(what);
}
