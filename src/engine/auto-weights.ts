/** `weights: "auto"`: the most bits that there is room for. */
import { NoAdapterError, OutOfMemoryError } from "../base/errors.ts";
import { largestBuffer } from "../gpu/device.ts";
import type { CacheSpec } from "../models/family.ts";
import type { WeightLayout } from "../weights/quant/layout.ts";
import { entryBytes } from "./cache.ts";
import type { LoadOptions } from "./options.ts";
import type { KvFormat } from "./port.ts";
import { sizesOf, type Sized, type Sizes } from "./sizes.ts";
import { STAGING_BYTES } from "./upload.ts";
import type { WeightPlan } from "./weight-plan.ts";

/** From the most bits to the fewest. */
const ORDER = ["published", "q8", "q4"] as const;
type Wanted = (typeof ORDER)[number];

/** GPU bytes to go by, and who says so: a budget is kept to, a guess is not worth refusing a model for. */
export interface Room {
  readonly bytes: number;
  readonly by: "memoryBytes" | "adapter";
}

export interface WeightChoice {
  readonly plan: WeightPlan;
  /** One sentence, without its full stop. */
  readonly reason: string;
}

/** What the rest of the engine is sized by; the format of the cache may follow from that of the weights. */
export type Sizing = Omit<Sized, "tuning"> & { readonly kv: KvFormat };

/** The room for a model: what was allowed, or else the largest buffer of the adapter; undefined where there is no adapter. */
export async function roomOf({
  memoryBytes,
  device,
}: Pick<LoadOptions, "memoryBytes" | "device">): Promise<Room | undefined> {
  if (memoryBytes !== undefined) return { bytes: memoryBytes, by: "memoryBytes" };
  try {
    return { bytes: await largestBuffer(device), by: "adapter" };
  } catch (error) {
    if (error instanceof NoAdapterError) return undefined;
    throw error;
  }
}

/**
 * The formats to load in, the first that fits in front; behind it those with fewer bits, should the device refuse it.
 * @throws OutOfMemoryError with the sizes of each, if none fits what memoryBytes allows
 */
export function chooseWeights(
  published: WeightPlan,
  sizing: (plan: WeightPlan) => Sizing,
  room: Room | undefined,
): WeightChoice[] {
  const all = ORDER.map((wanted) => {
    const plan = published.as(wanted);
    return { wanted, plan, needed: neededBytes(plan, sizing(plan)) };
  });
  const sizes = all.map(({ wanted, needed }) => `${nameOf(wanted)} ${megabytes(needed)}`).join(", ");
  const fitting = all.findIndex(({ needed }) => !room || needed <= room.bytes);
  if (fitting < 0 && room?.by === "memoryBytes") {
    const least = Math.min(...all.map(({ needed }) => needed));
    throw new OutOfMemoryError(`The model with one context of cache (${sizes})`, least, room.bytes);
  }
  const first = fitting < 0 ? all.length - 1 : fitting;
  return all.slice(first).map(({ wanted, plan }, i) => {
    const kept = wanted === "published" ? "" : keptIn(plan, wanted);
    const refused = `${nameOf(wanted)}, since the device had no room for more`;
    const reason = i > 0 ? refused : reasonOf({ wanted, fits: fitting >= 0, sizes, room });
    return { plan, reason: reason + kept };
  });
}

function reasonOf({
  wanted,
  fits,
  sizes,
  room,
}: {
  wanted: Wanted;
  fits: boolean;
  sizes: string;
  room: Room | undefined;
}): string {
  if (!room) return "as published: without memoryBytes or an adapter there is nothing to go by";
  const limit =
    room.by === "memoryBytes"
      ? `the ${megabytes(room.bytes)} of memoryBytes`
      : `${megabytes(room.bytes)}, the adapter's largest buffer (memoryBytes says better)`;
  const sums = `with one context of cache: ${sizes}`;
  if (!fits) return `${wanted}, the fewest bits, though more than ${limit}, ${sums}`;
  return `${nameOf(wanted)}, the most bits that fit ${limit}, ${sums}`;
}

const nameOf = (wanted: Wanted): string => (wanted === "published" ? "as published" : wanted);
const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`;

/** Which matrices are in other layouts than was asked for. */
export function keptIn(plan: WeightPlan, wanted: WeightLayout): string {
  const kept = (exact: boolean): string[] => {
    const roles = [...plan.layouts].filter(([role, layout]) => layout !== wanted && exactOf(plan, role) === exact);
    return [...new Set(roles.map(([, layout]) => layout))];
  };
  const sensitive = kept(false).length > 0 ? [`embeddings and head keep ${kept(false).join(", ")}`] : [];
  const exact = kept(true).length > 0 ? ["routers f32"] : [];
  const both = [...sensitive, ...exact].join(", ");
  return both && `; ${both}`;
}

function exactOf(plan: WeightPlan, role: string): boolean {
  const spec = plan.table.get(role);
  return spec?.kind === "linear" && spec.exact === true;
}

/**
 * GPU bytes that will do for the model, the cache of one context, and what a step takes. The cache takes what it wants of the
 * room that the weights leave, but for a tenth (`createCache`): either that tenth or what it does not want has to hold the rest.
 */
export function neededBytes(plan: WeightPlan, { kv, ...sized }: Sizing): number {
  const sizes = sizesOf({ ...sized, tuning: {} });
  const spec = sized.family.cacheSpec(sized.config);
  const least = cacheBytes(spec, kv, sizes, "least");
  const wanted = cacheBytes(spec, kv, sizes, "wanted");
  const rest = restBytes(plan, sized, sizes);
  return Math.ceil(plan.residentBytes + Math.max(least / 0.9, Math.min(10 * rest, rest + wanted)));
}

function cacheBytes(spec: CacheSpec, kv: KvFormat, { pools, pageSize }: Sizes, pages: "least" | "wanted"): number {
  const windows = spec.kind === "kv" ? spec.windows : undefined;
  const [all, windowed] = pools;
  let bytes = 0;
  for (let i = 0; i < spec.layers; i++) {
    const pool = windowed && (windows?.[i] ?? Infinity) <= windowed.window ? windowed : all!;
    bytes += pool[pages] * pageSize * entryBytes(spec, kv);
  }
  return bytes;
}

/** A bound on everything else: activations of a step, logits, state, and what streaming takes. */
function restBytes(plan: WeightPlan, { config }: Pick<Sized, "config">, { rows, readRows, slots }: Sizes): number {
  let [widest, longestRow, turned] = [0, 0, 0];
  for (const spec of plan.table.values()) {
    if (spec.kind !== "linear") continue;
    const { outFeatures, inFeatures, active = 1 } = spec;
    longestRow = Math.max(longestRow, inFeatures);
    if (!spec.sensitive) widest = Math.max(widest, outFeatures * active, inFeatures);
    if (spec.transposed) turned = Math.max(turned, outFeatures * inFeatures * 4);
  }
  const activations = rows * 4 * (4 * config.hiddenSize + 2 * widest);
  const logits = 2 * 4 * (readRows + slots) * config.vocabSize;
  return activations + logits + Math.max(STAGING_BYTES, 8 * longestRow) + turned + STATE_BYTES;
}

/** Parameters, tables of pages and positions, options of sampling: small things, many of them. */
const STATE_BYTES = 2 << 20;
