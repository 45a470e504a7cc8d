import { AbortError } from "../base/errors.ts";
import { invariant } from "../base/assert.ts";
import { prefillWork } from "./model-work.ts";
import {
  countedBetween,
  fitting,
  freshIds,
  refuseOdd,
  roundsOf,
  summary,
  withSubject,
  type Counted,
  type ModelBenchOptions,
  type ModelReportHead,
  type Room,
  type Subject,
} from "./model-run.ts";
import { boundOf } from "./roofline.ts";

export interface PrefillBenchOptions extends ModelBenchOptions {
  /** Tokens of a prompt; default 64, 512 and 2048, on a software device 64 and 256. */
  prompts?: readonly number[];
}

/** One row of `bench prefill`. */
export interface PrefillRow {
  readonly tokens: number;
  readonly rounds: number;
  /** From the request to its first token: the median of the rounds, and their interquartile range over it. */
  readonly ms: number;
  readonly spread: number;
  readonly tokensPerS: number;
  /** Of the whole prompt: steps, milliseconds of JavaScript for them, and what was sent to the GPU. */
  readonly steps: number;
  readonly hostMs: number;
  readonly dispatches: number;
  readonly submits: number;
  /** Counted: the least traffic and the operations of the whole prompt. */
  readonly bytes: number;
  readonly flops: number;
  readonly gflopPerS: number;
  /** The least that it can take on this device's peaks, and that over `ms`. */
  readonly floorMs: number;
  readonly share: number;
  readonly boundBy: "memory" | "arithmetic";
}

/** One run of `tessera bench prefill`. */
export interface PrefillReport extends ModelReportHead {
  readonly kind: "tessera prefill";
  readonly rows: readonly PrefillRow[];
}

/** Times whole prompts through the engine, to their first token. Each round has other ids: none is in the cache. */
export async function benchPrefill(options: PrefillBenchOptions = {}): Promise<PrefillReport> {
  if (options.prompts) refuseOdd("prompts", options.prompts);
  let prompts: readonly number[] = [];
  const roomFor = (software: boolean, mostTokens: number): Room => {
    prompts = options.prompts ?? fitting(software ? [64, 256] : [64, 512, 2048], 1, mostTokens);
    const longest = Math.max(...prompts);
    return { rows: prompts.length, contextTokens: longest + 1, poolTokens: longest + 64, slots: 1 };
  };
  return withSubject(options, roomFor, async (subject) => {
    const rows: PrefillRow[] = [];
    for (const [i, tokens] of prompts.entries()) {
      subject.step(`${tokens} tokens`);
      rows.push(await measureRow(subject, tokens, 1000 * (i + 1), options));
    }
    return { kind: "tessera prefill", ...subject.head, rows };
  });
}

async function measureRow(
  subject: Subject,
  tokens: number,
  seed: number,
  options: PrefillBenchOptions,
): Promise<PrefillRow> {
  const { head, work } = subject;
  const rounds = roundsOf(options, subject);
  const times: number[] = [];
  const counts: Counted[] = [];
  for (let round = 0; round <= rounds; round++) {
    const { ms, counted } = await prefill(
      subject,
      freshIds(tokens, head.model.vocabSize, seed + round),
      options.signal,
    );
    if (round === 0) continue; // what runs for the first time is slower
    times.push(ms);
    counts.push(counted);
  }
  const { median: ms, spread } = summary(times);
  const mean = (key: keyof Counted): number => counts.reduce((sum, c) => sum + c[key], 0) / counts.length;
  const { bytes, flops } = prefillWork(work, tokens);
  const floor = boundOf({ bytes, flops }, head.peaks);
  return {
    tokens,
    rounds: times.length,
    ms,
    spread,
    tokensPerS: (1000 * tokens) / ms,
    steps: mean("steps"),
    hostMs: mean("hostMs"),
    dispatches: mean("dispatches"),
    submits: mean("submits"),
    bytes,
    flops,
    gflopPerS: flops / (ms * 1e6),
    floorMs: floor.ms,
    share: floor.ms / ms,
    boundBy: floor.by,
  };
}

async function prefill(
  { engine }: Subject,
  ids: number[],
  signal?: AbortSignal,
): Promise<{ ms: number; counted: Counted }> {
  const before = engine.stats();
  const result = await engine.generate(ids, { temperature: 0, maxTokens: 1 }, () => undefined, signal);
  if (signal?.aborted) throw new AbortError("Measuring", signal.reason);
  const after = engine.stats();
  invariant(after.prefix.hitTokens === before.prefix.hitTokens, "a prompt of the bench was in the cache");
  return { ms: result.timing.firstTokenMs, counted: countedBetween(before, after) };
}
