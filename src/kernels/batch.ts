import { roundUp } from "../base/assert.ts";
import { Usage, type Arena } from "../gpu/arena.ts";

/**
 * The two things that every kernel of a forward sees: what is in the batch, and where the cache is. Frozen.
 *
 * A batch is a flat run of rows, decode rows first, then prefill segments. Its composition comes from the host in one
 * write a step; what moves from step to step (length, position, last token) is in `state` and advances on the GPU.
 */

/** Token source of a row: the sampler's last choice for the row's slot. */
export const FROM_STATE = 0xffffffff;
/** No forced token; also what the sampler writes when a row had no finite logit. */
export const NO_TOKEN = 0xffffffff;
/** A row that sees every earlier row of its own segment: plain causal order. */
export const ALL_ANCESTORS = 0xffffffff;

/** Written into every kernel's prelude. `batch` is bound as a uniform, the arrays as read-only storage. */
export const BATCH_WGSL = /* wgsl */ `
struct Batch {
  rows: u32,          // rows in use
  segments: u32,      // runs of rows of one sequence
  samples: u32,       // rows whose hidden state goes through the head
  copies: u32,        // pages to copy before the forward (forks)
}
struct Row {
  slot: u32,          // sequence slot: index into state and page table
  offset: u32,        // tokens after state[slot].length
  token: u32,         // token id, or FROM_STATE
  ancestors: u32,     // bit i: row i of the same segment is visible (token trees; rows from the 33rd on always are)
  segment: u32,
  adapter: u32,       // 0: none
}
struct Segment {
  slot: u32,
  first: u32,         // its first row
  count: u32,
  accept: u32,        // 1: length advances by state.accepted (speculation); 0: by count
}
struct Sample {
  row: u32,
  slot: u32,          // whose sampling options and state
  token: u32,         // forced token or NO_TOKEN; when scoring, the token whose log-probability is wanted
  masked: u32,        // 1: mask[slot] applies
}
struct State {
  length: u32,        // entries in the cache
  position: u32,      // rotary position of the next token; differs from length once pages were dropped
  token: u32,         // the sampler's last choice
  counter: u32,       // draws made: with the seed, the whole state of the random numbers
  accepted: u32,      // tokens accepted by the last verification
  regime: u32,        // which of the model's rotary regimes the request has, fixed for its whole life
  ended: u32,         // 1 once an end token was drawn: what follows is overshoot
}
struct Page {
  page: u32,          // physical page of the pool
  base: u32,          // position of its first entry
}
const FROM_STATE: u32 = 0xffffffffu;
const NO_TOKEN: u32 = 0xffffffffu;
`;

const HEADER_BYTES = 256;
export const ROW_WORDS = 6;
export const SEGMENT_WORDS = 4;
export const SAMPLE_WORDS = 4;
export const STATE_WORDS = 7;
/** Entries of a slot's logit bias; OpenAI's API allows as many. */
export const MAX_BIASES = 300;
/** A slot's options and its logit bias; the layout is that of kernels/sampling.ts. */
export const SAMPLING_WORDS = 16 + 2 * MAX_BIASES;
const COPY_WORDS = 2;

export interface BatchLimits {
  /** Rows of one step. */
  rows: number;
  /** Sequences that may hold a slot at a time; also the samples of a sampling step. */
  slots: number;
  /** Rows of one step that may go through the head. */
  samples: number;
  /** Entries of one sequence's page table. */
  pagesPerSequence: number;
  vocabSize: number;
  /** Keep counts of tokens for penalties: 4 bytes × slots × vocabulary. */
  penalties?: boolean;
  /** A second page table, for windowed layers beside others. */
  windows?: boolean;
}

/** A range of a buffer, for a bind group. */
export interface Range {
  readonly buffer: GPUBuffer;
  readonly offset: number;
  readonly size: number;
}

/** The GPU side of `Batch`: fixed buffers, bound once when programs are recorded. */
export interface Batch {
  readonly limits: BatchLimits;
  /** u32: header, rows, segments, samples, copies, each at a multiple of 256 bytes. Written by the host each step. */
  readonly buffer: GPUBuffer;
  readonly header: Range;
  readonly rows: Range;
  readonly segments: Range;
  readonly samples: Range;
  readonly copies: Range;
  /** [slots] State. */
  readonly state: Range;
  /** [slots, pagesPerSequence] Page. Written by the host when pages are given. */
  readonly pageTable: Range;
  /** The same for the layers whose pages are in a pool of their own (`LayerCache.windowed`), and the pages to copy there. */
  readonly windowTable?: Range;
  readonly windowCopies?: Range;
  /** [slots] sampling options: temperature f32, seed u32, and what kernels/sampling.ts packs behind them. */
  readonly sampling: Range;
  /** [slots, vocab] u32: how often a token was drawn, and in bit 31 whether the prompt has it. Only with `penalties`. */
  readonly counts?: Range;
  /** [slots, vocab / 32] allowed tokens, a bit each; read where a sample says so. */
  readonly mask: Range;
  /** [samples] u32: the tokens of this step, copied to the host after it. */
  readonly tokens: Range;
}

/** Where one layer's cache is: one buffer holds K, then V, then scales. Offsets count elements of the cache's format. */
export interface LayerCache {
  readonly pool: Range;
  /** Elements of K before V. */
  readonly valueOffset: number;
  /** int8 only: words (u32) before the scales. */
  readonly scaleOffset?: number;
  /** Its pages are those of the batch's window table: a smaller pool, which pages behind the window go back to. */
  readonly windowed?: boolean;
}

/** How cache entries are stored. */
export type CacheFormat = "f32" | "f16" | "int8";

/**
 * What a forward sees of a cache of keys and values. The pool of a layer, in elements:
 *
 *   keys   [page][head][pageSize][headDim], from 0;
 *   values [page][head][pageSize][valueDim], from valueOffset;
 *   int8:  elements are signed bytes, four to a word, q · scale with |q| ≤ 127; the scales of an entry's key and value are
 *          the two halves (f16; key low, value high) of word scaleOffset + (page · heads + head) · pageSize + entry.
 *          One lane writes both, so no two lanes share a word.
 */
export interface CacheView {
  readonly kind: "kv";
  readonly format: CacheFormat;
  /** Tokens a page holds; a power of two. */
  readonly pageSize: number;
  readonly heads: number;
  /** Elements of a key. */
  readonly headDim: number;
  /** Elements of a value; headDim where absent. */
  readonly valueDim?: number;
  readonly layers: readonly LayerCache[];
}

/**
 * What a forward sees of a latent cache (multi-head latent attention, DeepSeek-V2): per token and layer one vector, its
 * first `rank` elements the compressed keys and values, the last `ropeDim` the rotated key that all heads share.
 * Pool: [page][pageSize][rank + ropeDim].
 */
export interface LatentView {
  readonly kind: "latent";
  readonly format: "f32" | "f16";
  readonly pageSize: number;
  readonly rank: number;
  readonly ropeDim: number;
  readonly layers: readonly { readonly pool: Range }[];
}

export async function createBatch(arena: Arena, limits: BatchLimits): Promise<Batch> {
  const region = sequenceOfRegions();
  region(HEADER_BYTES);
  const rows = region(limits.rows * ROW_WORDS * 4);
  const segments = region(limits.slots * SEGMENT_WORDS * 4);
  const samples = region(limits.samples * SAMPLE_WORDS * 4);
  const copies = region(limits.slots * COPY_WORDS * 4);
  const windowCopies = region(limits.windows ? limits.slots * COPY_WORDS * 4 : 0);
  const usage = Usage.storage | Usage.copyDst;
  const make = (label: string, bytes: number, extra = 0): Promise<GPUBuffer> =>
    arena.allocate("state", label, bytes, usage | extra);
  const whole = async (label: string, bytes: number, extra = 0): Promise<Range> => {
    const buffer = await make(label, bytes, extra);
    return { buffer, offset: 0, size: buffer.size };
  };
  const buffer = await make("batch", region.end(), Usage.uniform);
  const within = ([offset, size]: [number, number]): Range => ({ buffer, offset, size });
  return {
    limits,
    buffer,
    header: { buffer, offset: 0, size: 16 },
    rows: within(rows),
    segments: within(segments),
    samples: within(samples),
    copies: within(copies),
    state: await whole("sequence state", limits.slots * STATE_WORDS * 4, Usage.copySrc),
    pageTable: await whole("page table", limits.slots * limits.pagesPerSequence * 8),
    ...(limits.windows && {
      windowTable: await whole("window page table", limits.slots * limits.pagesPerSequence * 8),
      windowCopies: within(windowCopies),
    }),
    sampling: await whole("sampling options", limits.slots * SAMPLING_WORDS * 4),
    ...(limits.penalties && {
      counts: await whole("token counts", limits.slots * limits.vocabSize * 4, Usage.copySrc),
    }),
    mask: await whole("token masks", limits.slots * maskWords(limits.vocabSize) * 4),
    tokens: await whole("tokens", limits.samples * 4, Usage.copySrc),
  };
}

export function maskWords(vocabSize: number): number {
  return Math.ceil(vocabSize / 32);
}

/** Lays regions out one after another at multiples of 256 bytes, the alignment that bindings need. */
function sequenceOfRegions(): { (bytes: number): [offset: number, size: number]; end(): number } {
  let at = 0;
  const region = (bytes: number): [number, number] => {
    const offset = at;
    const size = Math.max(16, bytes);
    at = roundUp(at + size, 256);
    return [offset, size];
  };
  return Object.assign(region, { end: () => at });
}

/** One step's composition as the host states it; `writeBatch` turns it into the buffer's words. */
export interface BatchPlan {
  segments: {
    slot: number;
    /** Token ids to upload, or null for one row that takes the sampler's last choice. */
    tokens: readonly number[] | null;
    accept?: boolean;
    ancestors?: readonly number[];
  }[];
  samples: { row: number; slot: number; token?: number; masked?: boolean }[];
  copies: { from: number; to: number }[];
  /** As many again in the pool of windowed layers, where there is one. */
  windowCopies?: { from: number; to: number }[];
}

/** Encodes plans into one reused array, so that a step allocates nothing that grows. */
export class BatchWriter {
  private readonly words: Uint32Array<ArrayBuffer>;

  constructor(
    private readonly batch: Batch,
    private readonly queue: GPUQueue,
  ) {
    this.words = new Uint32Array(batch.buffer.size / 4);
  }

  /** Writes the whole plan in one `writeBuffer`. Rows are numbered in the order of the segments. */
  write(plan: BatchPlan): void {
    const { words, batch } = this;
    let row = 0;
    let at = batch.rows.offset / 4;
    let segmentAt = batch.segments.offset / 4;
    plan.segments.forEach(({ slot, tokens, accept, ancestors }, segment) => {
      const count = tokens?.length ?? 1;
      words.set([slot, row, count, accept ? 1 : 0], segmentAt);
      segmentAt += SEGMENT_WORDS;
      for (let i = 0; i < count; i++, row++, at += ROW_WORDS) {
        words[at] = slot;
        words[at + 1] = i;
        words[at + 2] = tokens ? tokens[i]! : FROM_STATE;
        words[at + 3] = ancestors ? ancestors[i]! : ALL_ANCESTORS;
        words[at + 4] = segment;
        words[at + 5] = 0;
      }
    });
    let sampleAt = batch.samples.offset / 4;
    for (const { row: sampled, slot, token = NO_TOKEN, masked } of plan.samples) {
      words.set([sampled, slot, token, masked ? 1 : 0], sampleAt);
      sampleAt += SAMPLE_WORDS;
    }
    this.writeCopies(batch.copies, plan.copies);
    if (batch.windowCopies) this.writeCopies(batch.windowCopies, plan.windowCopies ?? []);
    words.set([row, plan.segments.length, plan.samples.length, plan.copies.length], 0);
    this.queue.writeBuffer(batch.buffer, 0, words);
  }

  private writeCopies({ offset }: Range, copies: BatchPlan["copies"]): void {
    let at = offset / 4;
    for (const { from, to } of copies) {
      this.words[at++] = from;
      this.words[at++] = to;
    }
  }
}
