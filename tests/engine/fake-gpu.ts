import { PagePool } from "../../src/engine/pages.ts";
import { PrefixIndex, type ChainHash } from "../../src/engine/prefix.ts";
import type { SlotSetup, Step } from "../../src/engine/step.ts";
import type { Sequence } from "../../src/engine/sequence.ts";

/** What an entry of the cache depends on: its token and everything before it. */
export type Context = number;

export const START: Context = 0x1234567;
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

  constructor(total: number, seed: number, hash?: ChainHash) {
    super(total, seed, new PrefixIndex(hash));
  }

  override allocate(count: number): number[] | null {
    const pages = super.allocate(count);
    for (const page of pages ?? []) this.onGive(page);
    return pages;
  }
}

/**
 * The GPU as the scheduler should see it: a cache whose entries are tokens and what they depend on. Steps run at once, in the
 * order of their submission, as they do on a queue; results are delivered when the test likes. It throws where
 *  - a row reads an entry that was not written since its page was given, or that belongs to another prefix;
 *  - a page has two writers, or an entry is written twice;
 *  - a page is given away while a step under way touches it.
 */
export class FakeGpu {
  readonly underWay: Step[] = [];
  private readonly entries: (Entry | undefined)[][];
  private readonly writers: (Sequence | undefined)[];
  private readonly touched = new Map<Step, Set<number>>();
  private readonly tables: number[][];
  private readonly states: State[] = [];

  constructor(
    pool: WatchedPool,
    private readonly pageSize: number,
    slots: number,
  ) {
    this.entries = Array.from({ length: pool.total }, () => []);
    this.writers = Array.from({ length: pool.total }, () => undefined);
    this.tables = Array.from({ length: slots }, () => []);
    pool.onGive = (page) => {
      for (const [, pages] of this.touched) check(!pages.has(page), `page ${page} is given while a step touches it`);
      this.entries[page] = [];
      this.writers[page] = undefined;
    };
  }

  /** Runs a step; what it gives is for `commit`. */
  run(step: Step): { tokens: Uint32Array | null; values: Float32Array | null } {
    for (const setup of step.setups) {
      this.states[setup.slot] = { ...setup, token: -1, filled: setup.length, draws: setup.counter };
    }
    for (const { slot, at, pages } of step.growths) pages.forEach((page, i) => (this.tables[slot]![at + i] = page));
    const owners = new Map(step.sequences.map((s) => [s.slot, s]));
    const contexts = this.forward(step, owners);
    this.copy(step);
    this.touched.set(step, this.pagesOf(step));
    this.underWay.push(step);
    const results = step.batch.samples.map(({ row, slot, token }) => {
      const context = contexts[row]!;
      const state = this.states[slot]!;
      if (step.head === "logits") return logitOf(context);
      if (step.head === "score") return scoreOf(context, token!);
      state.token = drawOf(context, state.sampling!.temperature, state.sampling!.seed, state.draws++);
      return state.token;
    });
    for (const { slot, tokens } of step.batch.segments) this.states[slot]!.filled += tokens?.length ?? 1;
    if (step.head === "none") return { tokens: null, values: null };
    if (step.head === "sample" || step.head === "process") return { tokens: Uint32Array.from(results), values: null };
    return { tokens: null, values: Float32Array.from(results) };
  }

  /** The oldest step is over: its pages may be given away. */
  finish(): Step {
    const step = this.underWay.shift()!;
    this.touched.delete(step);
    return step;
  }

  /** In a layer all rows are written first, then all are read. Returns the context of each row. */
  private forward(step: Step, owners: Map<number, Sequence>): Context[] {
    const fresh = new Set<Entry>();
    for (const { slot, tokens } of step.batch.segments) {
      const { filled, token } = this.states[slot]!;
      for (let i = 0; i < (tokens?.length ?? 1); i++) {
        const entry = { token: tokens ? tokens[i]! : token, context: -1 };
        check(entry.token >= 0, "a row takes a token that was never drawn");
        fresh.add(entry);
        this.write(owners.get(slot)!, filled + i, entry);
      }
    }
    const contexts: Context[] = [];
    for (const { slot, tokens } of step.batch.segments) {
      let context = START;
      const { filled } = this.states[slot]!;
      for (let at = 0; at < filled + (tokens?.length ?? 1); at++) {
        const entry = this.at(slot, at);
        context = extend(context, entry.token);
        if (fresh.has(entry) && entry.context < 0) entry.context = context;
        check(entry.context === context, `slot ${slot} reads an entry ${at} of another prefix`);
        if (at >= filled) contexts.push(context);
      }
    }
    return contexts;
  }

  private at(slot: number, at: number): Entry {
    const page = this.tables[slot]![Math.floor(at / this.pageSize)];
    const entry = page === undefined ? undefined : this.entries[page]![at % this.pageSize];
    check(entry, `slot ${slot} reads entry ${at}, which nobody has written`);
    return entry!;
  }

  private write(owner: Sequence, at: number, entry: Entry): void {
    const index = Math.floor(at / this.pageSize);
    const page = this.tables[owner.slot]![index]!;
    check(page !== undefined && owner.pages[index] === page, `entry ${at} has no page of its sequence`);
    check((this.writers[page] ?? owner) === owner, `page ${page} has two writers`);
    this.writers[page] = owner;
    const old = this.entries[page]![at % this.pageSize];
    check(!old || old.copied, `entry ${at} is written twice`);
    this.entries[page]![at % this.pageSize] = entry;
  }

  private copy({ batch: { copies } }: Step): void {
    check(!copies.some(({ to }) => copies.some(({ from }) => from === to)), "a page is copied from and to");
    check(copies.length <= this.tables.length, "more copies than slots");
    for (const { from, to } of copies) {
      this.entries[to] = this.entries[from]!.map((entry) => entry && { ...entry, copied: true });
    }
  }

  private pagesOf({ batch }: Step): Set<number> {
    const pages = batch.segments.flatMap(({ slot, tokens }) => {
      const end = this.states[slot]!.filled + (tokens?.length ?? 1);
      return this.tables[slot]!.slice(0, Math.ceil(end / this.pageSize));
    });
    return new Set([...pages, ...batch.copies.flatMap(({ from, to }) => [from, to])]);
  }
}

export function check(condition: unknown, what: string): void {
  if (!condition) throw new Error(what);
}
