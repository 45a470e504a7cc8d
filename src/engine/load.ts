import type { Repo } from "../base/bytes.ts";
import { AbortError, OutOfMemoryError } from "../base/errors.ts";
import { openRepo } from "../store/repo.ts";
import { assemble, type Parts } from "./assembly.ts";
import { Core } from "./core.ts";
import { InProcessEngine } from "./engine.ts";
import { readCheckpoint, type ModelSource } from "./inspect.ts";
import type { EngineTuning, LoadOptions } from "./options.ts";
import { PagePool } from "./pages.ts";
import type { LoadProgress } from "./port.ts";
import { planesOf } from "./page-bytes.ts";
import { chainHash, PrefixIndex } from "./prefix.ts";
import { Recovery, type Assembly } from "./recovery.ts";
import { Regimes } from "./regimes.ts";
import type { CacheIdentity } from "./saved.ts";
import { Scheduler } from "./scheduler.ts";
import { Session } from "./session.ts";
import { sizesOf } from "./sizes.ts";

export type { ModelSource } from "./inspect.ts";
export type { EngineTuning, LoadOptions } from "./options.ts";

/** Loads a checkpoint into an engine on this thread. Whatever fails, nothing stays allocated. */
export async function loadEngine(
  source: ModelSource,
  options: LoadOptions = {},
  tuning: EngineTuning = {},
): Promise<InProcessEngine> {
  if (options.signal?.aborted) throw new AbortError("Loading", options.signal.reason);
  return loadRepo(await openRepo(source, options), options, tuning);
}

/**
 * The same from a folder that is open already, and stays open: when the device is lost, the weights are read again.
 * A device that is lost while loading is not replaced: the load fails with DeviceLostError, and may be tried again.
 */
export async function loadRepo(
  repo: Repo,
  options: LoadOptions = {},
  tuning: EngineTuning = {},
): Promise<InProcessEngine> {
  const { signal, onProgress } = options;
  const report = (stage: LoadProgress["stage"], loaded: number, total: number): void =>
    onProgress?.({ stage, loaded, total });
  const check = (): void => {
    if (signal?.aborted) throw new AbortError("Loading", signal.reason);
  };
  try {
    report("config", 0, 1);
    for (let checkpoint = await readCheckpoint(repo, options, report); ;) {
      check();
      const regimes = new Regimes(checkpoint.family, checkpoint.config, checkpoint.contextTokens);
      const parts = { ...checkpoint, options, tuning, regimes };
      try {
        return engineOf(parts, await assemble(parts, { signal, onProgress }));
      } catch (error) {
        if (!checkpoint.otherwise || !(error instanceof OutOfMemoryError)) throw error;
        checkpoint = checkpoint.otherwise;
      }
    }
  } catch (error) {
    check(); // whatever an abort made fail, it was the abort
    throw error;
  }
}

/** What outlives the device: who waits and what is known of them, and the way to another device. */
function engineOf(parts: Parts, assembly: Assembly): InProcessEngine {
  const { config, text, contextTokens, endIds, tuning, regimes } = parts;
  const sizes = sizesOf(parts);
  const { slots, pageSize, lookAhead } = sizes;
  const prefix = new PrefixIndex();
  const pools = assembly.pages.map((pages, k) => ({
    pages: new PagePool(pages, tuning.pageSeed, prefix, k),
    window: sizes.pools[k]!.window,
  }));
  const scheduler = new Scheduler(sizes, pools);
  const core = new Core(assembly, scheduler, lookAhead, recoveryOf(parts, assembly));
  const saving = {
    identity: identityOf(parts, assembly.digest),
    regimes: regimes.names,
    layout: { planes: planesOf(assembly.cache), pageSize, windows: sizes.pools.map(({ window }) => window) },
  };
  const limits = { contextTokens, vocabSize: config.vocabSize, slots, endIds, regimes };
  const session = new Session(core, text, limits, saving);
  const info = { ...parts.info, weights: { ...parts.info.weights, bytes: assembly.weightBytes } };
  return new InProcessEngine(core, scheduler, session, info, pageSize);
}

/** What a saved session has to agree with, besides its regime. */
function identityOf({ config, plan, kv }: Parts, digest: string): CacheIdentity {
  return {
    model: `${chainHash(JSON.stringify(config), [])}-${digest}`,
    layout: chainHash(JSON.stringify([...plan.layouts]), []),
    cache: kv,
  };
}

/** A device that the caller gave is the caller's to replace. */
function recoveryOf(parts: Parts, { pages, digest }: Assembly): Recovery | undefined {
  const { device, onProgress } = parts.options;
  if (device) return undefined;
  return new Recovery((signal) =>
    assemble(parts, {
      signal,
      like: { pages, digest },
      onProgress: (progress) => onProgress?.({ ...progress, recovering: true }),
    }),
  );
}
