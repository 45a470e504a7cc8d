import { VERSION } from "../base/version.ts";
import { Arena } from "../gpu/arena.ts";
import type { Gpu } from "../gpu/device.ts";
import { slope, Stopwatch } from "../gpu/timing.ts";
import { attention } from "../kernels/attention.ts";
import type { CacheFormat, CacheView, Range } from "../kernels/batch.ts";
import { PATTERNS } from "../kernels/fill.ts";
import type { Graph } from "../kernels/graph.ts";
import { linear } from "../kernels/linear.ts";
import type { Tuning } from "../kernels/tuning.ts";
import { rowWords, type ResidentLayout } from "../weights/quant/layout.ts";
import { pagesOf, Rehearsal, WeightPool, type Scene } from "./rehearsal.ts";
import {
  candidatesOf,
  choose,
  GROUPS,
  isSoftware,
  parseChoices,
  tuningKey,
  withChoices,
  type Candidate,
  type Choices,
  type Group,
  type TuningStorage,
} from "./tune.ts";

/** The main shapes of a model: what its variants are tried with. */
export interface TrialShapes {
  readonly hidden: number;
  readonly intermediate: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly layout: ResidentLayout;
  readonly cache: CacheFormat;
  readonly pageSize: number;
}

export interface TuneOptions {
  /** "auto": on a GPU, when not deterministic, and only what storage does not know. "force": whatever it is. */
  mode?: "auto" | "force" | "skip";
  storage?: TuningStorage;
  /** Browser and its version, or Node's: compilers change with it. */
  agent?: string;
  /** No further candidate is begun after so many milliseconds; what is unfinished goes on at the next load. */
  budgetMs?: number;
  /** What may be decided; everything where absent. */
  groups?: readonly Group[];
  now?: () => number;
  /** Measures one candidate; for tests. `run` is what measures it really. */
  measure?: (candidate: Candidate, run: () => Promise<number>) => Promise<number>;
}

const BUDGET_MS = 300;
/** Bytes of weights that trials rotate, so that they are not found in a cache. */
const POOL_BYTES = 128 << 20;
const MOST_SETS = 8;
const CONTEXT = 2048;
const PREFILL_ROWS = 128;

/**
 * The tuning to record programs with: `base`, with what earlier loads on this adapter have found, and what this one finds
 * within its budget. Never fails: a trial that does leaves the base. Frees all it takes.
 */
export async function tunedFor(
  gpu: Gpu,
  base: Tuning,
  shapes: TrialShapes,
  options: TuneOptions = {},
): Promise<Tuning> {
  const { mode = "auto", storage, agent = globalThis.navigator?.userAgent ?? "", budgetMs = BUDGET_MS } = options;
  const { now = () => performance.now(), groups = GROUPS } = options;
  if (mode === "skip" || (mode === "auto" && (isSoftware(gpu.info) || base.deterministic))) return base;
  const key = tuningKey(gpu.info, agent, VERSION, `${shapes.layout} ${shapes.cache} ${shapes.hidden}`);
  const kept =
    mode === "force" ? {} : parseChoices(await quietly(async () => (await storage?.read(key)) ?? null, null));
  const possible = (group: Group): boolean => group !== "packedDot" || isQuantised(shapes);
  const missing = groups.filter((group) => {
    return kept[group] === undefined && possible(group) && candidatesOf(group, gpu.info, base).length > 1;
  });
  if (missing.length === 0) return withChoices(base, gpu.info, kept);
  const deadline = now() + budgetMs;
  const found: Choices = { ...kept };
  const trial = new Trial(gpu, base, shapes, { ...options, now });
  await quietly(async () => {
    await trial.open();
    for (const group of missing) {
      const choice = await quietly(() => trial.decide(group, deadline), undefined);
      if (choice) found[group] = choice.name;
    }
  }, undefined);
  trial.close();
  await quietly(async () => storage?.write(key, JSON.stringify(found)), undefined);
  return withChoices(base, gpu.info, found);
}

const isQuantised = ({ layout }: TrialShapes): boolean => /^q\d/.test(layout);

/** Tuning is a courtesy: where it fails, the table's choice is as good as before. */
async function quietly<T>(act: () => Promise<T>, otherwise: T): Promise<T> {
  try {
    return await act();
  } catch {
    return otherwise;
  }
}

class Trial {
  private readonly arena: Arena;
  private pool: WeightPool | undefined;
  private stopwatch: Stopwatch | undefined;

  constructor(
    private readonly gpu: Gpu,
    private readonly base: Tuning,
    private readonly shapes: TrialShapes,
    private readonly options: TuneOptions & { now: () => number },
  ) {
    this.arena = new Arena(gpu.device);
  }

  async open(): Promise<void> {
    this.stopwatch = await Stopwatch.create(this.gpu, this.arena);
    const wanted = Math.max(...GROUPS.map((group) => this.sceneOf(group).setBytes));
    this.pool = await WeightPool.allocate(
      this.gpu,
      Math.max(wanted, Math.min(POOL_BYTES, MOST_SETS * wanted)),
      this.arena,
    );
  }

  close(): void {
    this.stopwatch?.close();
    this.arena.freeAll();
  }

  /** The candidate to take; undefined where the time was up before each had been measured twice. */
  async decide(group: Group, deadline: number): Promise<Candidate | undefined> {
    const { gpu, base, pool, stopwatch, options } = this;
    const candidates = candidatesOf(group, gpu.info, base);
    const { scene, setBytes, draw } = this.sceneOf(group);
    const rehearsal = await Rehearsal.open(gpu, scene);
    try {
      await rehearsal.run((graph) => pool!.fillWith(graph, PATTERNS.f16));
      const sets = pool!.sets(setBytes, MOST_SETS);
      const times: number[][] = candidates.map(() => []);
      const order = candidates.map((_, i) => i);
      // There and back, so that a clock that drifts favours none.
      for (const i of [...order, ...order.toReversed()]) {
        if (options.now() > deadline) return undefined;
        const tuning = { ...base, ...candidates[i]!.tuning };
        const { programs } = await rehearsal.record(sets.length, (graph, set) => draw(graph, sets[set]!), tuning);
        await stopwatch!.pass(programs, 1);
        const run = async (): Promise<number> =>
          (await slope((repeats) => stopwatch!.pass(programs, repeats), { rounds: 1, passMs: 1, maxRepeats: 64 })).ms;
        times[i]!.push(await (options.measure?.(candidates[i]!, run) ?? run()));
      }
      return choose(candidates, times);
    } finally {
      rehearsal.close();
    }
  }

  /** What a group is measured with. */
  private sceneOf(group: Group): { scene: Scene; setBytes: number; draw: (graph: Graph, set: Range) => void } {
    if (group === "split") return this.attentionScene();
    const { hidden, intermediate, layout } = this.shapes;
    const rows = group === "matMul" ? PREFILL_ROWS : 1;
    const outFeatures = 2 * intermediate;
    const maxBinding = this.gpu.device.limits.maxStorageBufferBindingSize;
    const rowCount = Math.min(outFeatures, Math.floor(maxBinding / (4 * rowWords(layout, hidden)) / 2) * 2);
    return {
      scene: { segments: [{ rows, length: 0 }] },
      setBytes: rowCount * 4 * rowWords(layout, hidden),
      draw: (graph, weights) => {
        const part = { weights, rowStart: 0, rowCount };
        const layer = { name: "trial", inFeatures: hidden, outFeatures: rowCount, layout, parts: [part] };
        linear(graph, graph.tensor("rows", hidden), layer);
      },
    };
  }

  private attentionScene(): { scene: Scene; setBytes: number; draw: (graph: Graph, set: Range) => void } {
    const { heads, kvHeads, headDim, cache: format, pageSize } = this.shapes;
    const scene: Scene = { segments: [{ rows: 1, length: CONTEXT - 1 }], pageSize };
    const elements = pagesOf(scene) * pageSize * kvHeads * headDim;
    const elementBytes = { f32: 4, f16: 2, int8: 1 }[format];
    const scaleBytes = format === "int8" ? pagesOf(scene) * pageSize * kvHeads * 4 : 0;
    const draw = (graph: Graph, pool: Range): void => {
      const layer = { pool, valueOffset: elements, ...(format === "int8" && { scaleOffset: elements / 2 }) };
      const cache: CacheView = { kind: "kv", format, pageSize, heads: kvHeads, headDim, layers: [layer] };
      attention(graph, graph.tensor("rows", heads * headDim), cache, 0, { scale: headDim ** -0.5 });
    };
    return { scene, setBytes: 2 * elements * elementBytes + scaleBytes, draw };
  }
}
