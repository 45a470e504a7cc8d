/** Many requests of every kind, with cancels at any moment, and what is left of them afterwards. */
import type { InProcessEngine } from "../../src/engine/engine.ts";
import type { EngineStats, RowRange, SamplingOptions } from "../../src/engine/port.ts";
import { slopeOf, type Slope } from "./slope.ts";

export interface SoakOptions {
  requests: number;
  seed: number;
  /** Requests at a time. */
  company: number;
  /** Heap is measured after each of the last so many requests; 0: not at all. */
  measured: number;
  /** Bytes of the JavaScript heap after a forced collection. */
  heapBytes: () => number;
  onRequest?: (done: number) => void;
}

/** Everything that must be as it was before, and how much happened in between. */
export interface SoakReport {
  requests: number;
  kinds: Record<string, number>;
  cancelled: number;
  tokens: number;
  preemptions: number;
  hitTokens: number;
  before: EngineStats["gpuBytes"];
  after: EngineStats["gpuBytes"];
  left: { used: number; shared: number; running: number; waiting: number };
  /** Bytes of heap a request, over the last ones. */
  heap: Slope;
}

/** The same numbers for the same seed (a linear congruential generator). */
export function randomOf(seed: number): (below: number) => number {
  let state = (seed + 1) >>> 0;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

type Kind = "generate" | "logits" | "score";

interface Errand {
  kind: Kind;
  ids: number[];
  options: SamplingOptions;
  rows: RowRange;
  /** Cancelled at this delta of a generation, 0: some milliseconds after it began; undefined: never. */
  cancelAt: number | undefined;
  cancelMs: number;
}

function errand(random: (below: number) => number, { vocabSize, contextTokens }: InProcessEngine["info"]): Errand {
  const length = 2 + random(Math.min(random(2) ? 120 : 24, Math.floor(contextTokens / 2)));
  const family = random(3);
  // Prompts begin alike, so that pages are shared, and part ways anywhere.
  const shared = random(2) ? length - 1 : random(length);
  const ids = Array.from({ length }, (_, i) => (i < shared ? family * 31 + i * 7 : random(vocabSize)) % vocabSize);
  const from = random(length);
  const n = random(4) === 0 ? 2 + random(2) : 1;
  const most = n === 1 && random(2) ? 120 : 30;
  return {
    kind: (["generate", "generate", "generate", "generate", "logits", "score"] as const)[random(6)]!,
    ids,
    options: {
      maxTokens: 1 + random(Math.min(most, contextTokens - length)),
      temperature: random(2),
      seed: random(1000),
      n,
      priority: random(3) - 1,
      ...(random(4) === 0 && { repetitionPenalty: 1.2, topK: 20, logprobs: 1 }),
    },
    rows: [from, Math.min(length, from + 1 + random(12))],
    cancelAt: random(3) === 0 ? random(8) : undefined,
    cancelMs: random(25),
  };
}

/** Runs one; whether it was ended before its time. */
async function run(
  engine: InProcessEngine,
  { kind, ids, options, rows, cancelAt, cancelMs }: Errand,
): Promise<boolean> {
  const controller = new AbortController();
  const { signal } = controller;
  let timer: ReturnType<typeof setTimeout> | undefined;
  if (cancelAt !== undefined && (cancelAt === 0 || kind !== "generate")) {
    timer = setTimeout(() => controller.abort(), cancelMs);
  }
  let deltas = 0;
  const onDelta = (): void => {
    if (++deltas === cancelAt) controller.abort();
  };
  try {
    if (kind === "generate") {
      const { choices } = await engine.generate(ids, options, onDelta, signal);
      return choices.some((c) => c.finishReason === "abort");
    }
    await (kind === "logits" ? engine.logits(ids, rows, signal) : engine.score(ids, signal));
    return false;
  } catch (error) {
    if (signal.aborted) return true; // a reader has nothing to give for a part
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

/** @throws the first failure of a request that nobody cancelled */
export async function soak(engine: InProcessEngine, options: SoakOptions): Promise<SoakReport> {
  const { requests, seed, company, measured, heapBytes, onRequest } = options;
  const random = randomOf(seed);
  const { gpuBytes: before, tokens, preemptions, prefix } = engine.stats();
  const kinds: Record<string, number> = {};
  const heaps = new Float64Array(measured); // of its own, so that the samples are not what grows
  let begun = 0;
  let done = 0;
  let cancelled = 0;
  const worker = async (): Promise<void> => {
    while (begun++ < requests) {
      const next = errand(random, engine.info);
      kinds[next.kind] = (kinds[next.kind] ?? 0) + 1;
      if (await run(engine, next)) cancelled++;
      const at = ++done - 1 - (requests - measured);
      if (at >= 0) heaps[at] = heapBytes();
      onRequest?.(done);
    }
  };
  await Promise.all(Array.from({ length: company }, worker));
  const end = engine.stats();
  return {
    requests: done,
    kinds,
    cancelled,
    tokens: end.tokens - tokens,
    preemptions: end.preemptions - preemptions,
    hitTokens: end.prefix.hitTokens - prefix.hitTokens,
    before,
    after: end.gpuBytes,
    left: { used: end.pages.used, shared: end.pages.shared, running: end.running, waiting: end.waiting },
    heap: slopeOf(heaps),
  };
}

/** What is not as it was; empty where nothing leaked. */
export function leaks({ before, after, left, heap, requests }: SoakReport, wanted: number): string[] {
  const found: string[] = [];
  if (requests !== wanted) found.push(`${requests} of ${wanted} requests came to an end`);
  for (const [name, count] of Object.entries(left)) if (count !== 0) found.push(`${name}: ${count}`);
  if (JSON.stringify(before) !== JSON.stringify(after)) {
    found.push(`GPU bytes ${JSON.stringify(after)}, before ${JSON.stringify(before)}`);
  }
  // A slope that is clear of its own error, and worth a word: the noise of a heap is not normal.
  if (heap.slope > 3 * heap.error && heap.slope > 1024) {
    found.push(`the heap grows by ${Math.round(heap.slope)} ± ${Math.round(heap.error)} bytes a request`);
  }
  return found;
}
