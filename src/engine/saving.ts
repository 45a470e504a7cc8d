import { AbortError } from "../base/errors.ts";
import type { Core } from "./core.ts";
import type { RestoredSession } from "./port.ts";
import {
  decodeSession,
  encodeSession,
  type CacheIdentity,
  type CacheLayout,
  type Place,
  type SavedSampler,
} from "./saved.ts";
import type { Request, Task } from "./sequence.ts";

/** What sessions of an engine are saved as. */
export interface Saving {
  readonly identity: CacheIdentity;
  /** Names of the rotary regimes. */
  readonly regimes: readonly string[];
  readonly layout: CacheLayout;
}

interface Wanted {
  readonly ids: readonly number[];
  readonly salt: string;
  readonly regime: number;
  readonly signal: AbortSignal | undefined;
}

/** Computes what the cache does not hold of the ids in their regime, and reads all of it. */
export async function saveSession(
  core: Core,
  { identity, regimes, layout }: Saving,
  wanted: Wanted,
  sampler: SavedSampler,
): Promise<Uint8Array<ArrayBuffer>> {
  const places = new Map<number, Place>();
  await run(core, { kind: "save" }, wanted, "Saving the session", places);
  return encodeSession({ ...identity, ropes: regimes[wanted.regime]! }, layout, wanted.ids, sampler, places);
}

/** Puts a saved session's whole pages into the cache, where requests of the salt and the regime find them by their ids. */
export async function restoreSession(
  core: Core,
  { identity, regimes, layout }: Saving,
  bytes: Uint8Array,
  limits: { readonly contextTokens: number; readonly vocabSize: number },
  { salt, signal }: Omit<Wanted, "ids" | "regime">,
): Promise<RestoredSession> {
  const decoded = await decodeSession(bytes, identity, regimes, layout, limits);
  const { ids, regime, places, firsts, page, seed, drawn } = decoded;
  const cachedTokens = places * layout.pageSize;
  if (places > 0) {
    const whole = { ids: ids.slice(0, cachedTokens), salt, regime, signal };
    await run(core, { kind: "restore", firsts, page }, whole, "Restoring the session");
  }
  return { ids, ...(seed !== undefined && { seed }), ...(drawn !== undefined && { drawn }), cachedTokens };
}

/** Runs a request that gives no tokens to its end, and keeps the places that it gives. */
function run(
  core: Core,
  task: Task,
  { ids, salt, regime, signal }: Wanted,
  what: string,
  places?: Map<number, Place>,
): Promise<void> {
  return new Promise((resolve, reject) => {
    let aborted = false;
    const request: Request = {
      ids,
      task,
      n: 1,
      endIds: new Set(),
      salt,
      regime,
      listener: {
        onPage: (place, bytes, present) => void places?.set(place, { bytes, present }),
        onFinish: (_, reason) => (aborted = reason === "abort"),
        onError: reject,
        onDone: () => {
          signal?.removeEventListener("abort", onAbort);
          if (aborted) reject(new AbortError(what, signal?.reason));
          else resolve();
        },
      },
    };
    const onAbort = (): void => core.cancel(request, "abort");
    if (signal?.aborted) return reject(new AbortError(what, signal.reason));
    core.add(request);
    signal?.addEventListener("abort", onAbort, { once: true });
  });
}
