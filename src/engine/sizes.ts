/** How large steps and pools are to be. */
import { powerOfTwoAtLeast } from "../base/assert.ts";
import type { Family, ModelConfig } from "../models/family.ts";
import { poolWindows, type PoolPlan } from "./cache.ts";
import type { EngineTuning } from "./options.ts";
import { windowPages } from "./paging.ts";

/** Sizes of steps and of the pool, the same on every device. */
export interface Sizes {
  readonly rows: number;
  readonly readRows: number;
  readonly slots: number;
  readonly pageSize: number;
  readonly pagesPerSequence: number;
  /** What is wanted of the cache. */
  readonly pools: readonly PoolPlan[];
  /** Steps under way. */
  readonly lookAhead: number;
}

const DEFAULT_SLOTS = 8;
const DEFAULT_ROWS = 256;
const DEFAULT_LOOK_AHEAD = 3;
/** Logits of one reading step, on the GPU and again on their way to the host. */
const READ_BYTES = 4 << 20;

/** What sizes follow from; of the tuning, what tests turn. */
export interface Sized {
  readonly family: Family;
  readonly config: ModelConfig;
  readonly contextTokens: number;
  readonly tuning: EngineTuning;
}

export function sizesOf({ family, config, contextTokens, tuning }: Sized): Sizes {
  const cache = family.cacheSpec(config);
  const pageSize = tuning.pageSize ?? (cache.kind === "latent" || cache.headDim <= 64 ? 64 : 32);
  const rows = powerOfTwoAtLeast(Math.min(tuning.maxRows ?? DEFAULT_ROWS, contextTokens));
  const slots = tuning.slots ?? DEFAULT_SLOTS;
  const pagesPerSequence = Math.ceil(contextTokens / pageSize);
  const poolTokens = tuning.poolTokens ?? Math.max(contextTokens, Math.min(4 * contextTokens, 16384));
  const wanted = Math.ceil(poolTokens / pageSize);
  return {
    rows,
    readRows: Math.max(1, Math.min(64, rows, Math.floor(READ_BYTES / (config.vocabSize * 4)))),
    slots,
    pageSize,
    pagesPerSequence,
    // Behind a window a sequence has few pages; beyond those of all slots there is only what was cached.
    pools: poolWindows(cache, contextTokens).map((window) => {
      const least = Math.min(pagesPerSequence, windowPages(window, rows, pageSize));
      return { window, least, wanted: window < Infinity ? Math.min(wanted, slots * least) : wanted };
    }),
    lookAhead: tuning.lookAhead ?? DEFAULT_LOOK_AHEAD,
  };
}
