import { AbortError, ArgumentError } from "../base/errors.ts";
import { invariant } from "../base/assert.ts";
import type { EngineStats } from "../engine/port.ts";
import { decodeWork } from "./model-work.ts";
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

export interface DecodeBenchOptions extends ModelBenchOptions {
  /** Tokens in the cache before the first that is timed; default 64, 1024 and 4096, on a software device 64 and 512. */
  contexts?: readonly number[];
  /** Sequences that decode together; one of them at every context, more at the first. Default 1, 2, 4 and 8. */
  sequences?: readonly number[];
  /** Tokens of each sequence in a round; default 64, on a software device 16. */
  tokens?: number;
}

/** One row of `bench decode`. All figures of a step are means over the tokens from `context` on. */
export interface DecodeRow {
  readonly context: number;
  readonly sequences: number;
  /** Of each sequence, in each round. */
  readonly tokens: number;
  readonly rounds: number;
  /** One step, a token for every sequence: the median of the rounds, and their interquartile range over it. */
  readonly ms: number;
  readonly spread: number;
  /** Of all sequences together. */
  readonly tokensPerS: number;
  /** Of one step: milliseconds of JavaScript for planning and encoding, and what was sent to the GPU. */
  readonly hostMs: number;
  readonly dispatches: number;
  readonly dispatchesPerLayer: number;
  readonly submits: number;
  /** Counted traffic of one step: all of it, and the cache's part. */
  readonly bytes: number;
  readonly kvBytes: number;
  /** The least that one step can take by its traffic or its operations on this device's peaks, and that over `ms`. */
  readonly floorMs: number;
  readonly share: number;
  readonly boundBy: "memory" | "arithmetic";
}

/** One run of `tessera bench decode`. */
export interface DecodeReport extends ModelReportHead {
  readonly kind: "tessera decode";
  readonly rows: readonly DecodeRow[];
}

/** Look-ahead has the last steps of a sequence under way before they are seen; what is counted ends before them. */
const TAIL = 4;
const LEAST_TOKENS = 2 * TAIL + 2;

/** Times the engine's decode steps: whole requests through the scheduler, greedy, on ids that it has not seen. */
export async function benchDecode(options: DecodeBenchOptions = {}): Promise<DecodeReport> {
  const { sequences = [1, 2, 4, 8], tokens: wanted } = options;
  for (const list of [options.contexts, sequences]) if (list) refuseOdd("contexts and sequences", list);
  if (wanted !== undefined && (!Number.isInteger(wanted) || wanted < LEAST_TOKENS)) {
    throw new ArgumentError(`tokens is ${wanted}; a round takes at least ${LEAST_TOKENS}.`);
  }
  let tokens = 0;
  let cells: Cell[] = [];
  const roomFor = (software: boolean, mostTokens: number): Room => {
    tokens = wanted ?? (software ? 16 : 64);
    cells = cellsOf(
      options.contexts ?? fitting(software ? [64, 512] : [64, 1024, 4096], tokens + 1, mostTokens),
      sequences,
    );
    const held = (context: number): number => context + 1 + tokens;
    return {
      rows: cells.length,
      contextTokens: Math.max(...cells.map(({ context }) => held(context))),
      // Three pages of slack for each sequence: the last one is not full, and the scheduler keeps one to go on.
      poolTokens: Math.max(...cells.map(({ context, count }) => count * (held(context) + 3 * 64))),
      slots: Math.max(8, ...sequences),
    };
  };
  return withSubject(options, roomFor, async (subject) => {
    const rows: DecodeRow[] = [];
    for (const { context, count } of cells) {
      subject.step(`${count} × ${context}`);
      rows.push(await measureRow(subject, context, count, tokens, options));
    }
    return { kind: "tessera decode", ...subject.head, rows };
  });
}

interface Cell {
  readonly context: number;
  readonly count: number;
}

/** One sequence at every context, more of them at the first. */
function cellsOf(contexts: readonly number[], sequences: readonly number[]): Cell[] {
  const alone = sequences.includes(1) ? contexts : [];
  return [
    ...alone.map((context) => ({ context, count: 1 })),
    ...sequences.filter((count) => count > 1).map((count) => ({ context: contexts[0]!, count })),
  ];
}

async function measureRow(
  subject: Subject,
  context: number,
  sequences: number,
  tokens: number,
  options: DecodeBenchOptions,
): Promise<DecodeRow> {
  const { signal } = options;
  const { head, work } = subject;
  const rounds = roundsOf(options, subject);
  // The same prompts in every round, and one id more than the context: after the first round that id alone is computed, if
  // the context is of whole pages, and all sequences start in one step.
  const prompts = Array.from({ length: sequences }, (_, i) =>
    freshIds(context + 1, head.model.vocabSize, 1 + i + 1000 * context + 100 * sequences),
  );
  await decodeAll(subject, prompts, tokens, signal);
  const rates: number[] = [];
  const counts: Counted[] = [];
  for (let round = 0; round < rounds; round++) {
    const { times, counted } = await decodeAll(subject, prompts, tokens, signal);
    if (!counted) throw apart(sequences);
    rates.push(commonRate(times));
    counts.push(counted);
  }
  const { median: rate, spread } = summary(rates);
  const ms = (1000 * sequences) / rate;
  const { bytes, flops, kvBytes } = decodeWork(work, context + tokens / 2, sequences);
  const floor = boundOf({ bytes, flops }, head.peaks);
  const steps = counts.reduce((sum, c) => sum + c.steps, 0);
  const perStep = (key: keyof Counted): number => counts.reduce((sum, c) => sum + c[key], 0) / steps;
  const dispatches = perStep("dispatches");
  return {
    context,
    sequences,
    tokens,
    rounds: rates.length,
    ms,
    spread,
    tokensPerS: rate,
    hostMs: perStep("hostMs"),
    dispatches,
    dispatchesPerLayer: dispatches / head.model.layers,
    submits: perStep("submits"),
    bytes,
    kvBytes,
    floorMs: floor.ms,
    share: floor.ms / ms,
    boundBy: floor.by,
  };
}

/**
 * Runs one request a prompt, all at once. `times`: when each sequence's tokens came, in milliseconds; `counted`: while all of
 * them ran, null if there was no such while.
 */
async function decodeAll(
  { engine }: Subject,
  prompts: readonly number[][],
  tokens: number,
  signal?: AbortSignal,
): Promise<{ times: number[][]; counted: Counted | null }> {
  const times: number[][] = prompts.map(() => []);
  const looks: { before?: EngineStats; after?: EngineStats } = {};
  const onToken = (i: number): void => {
    times[i]!.push(performance.now());
    // Counters while all of them run, and while as many steps are under way at both looks.
    if (!looks.before && times.every((t) => t.length > 0)) looks.before = engine.stats();
    else if (looks.before && !looks.after && times[i]!.length === tokens - TAIL) looks.after = engine.stats();
  };
  const results = await Promise.all(
    prompts.map((ids, i) => engine.generate(ids, { temperature: 0, maxTokens: tokens }, () => onToken(i), signal)),
  );
  if (signal?.aborted) throw new AbortError("Measuring", signal.reason);
  invariant(
    results.every((r) => r.ids.length === tokens),
    "a sequence of the bench ended early",
  );
  const { before, after } = looks;
  return { times, counted: before && after && after.steps > before.steps ? countedBetween(before, after) : null };
}

/**
 * Tokens a second of all sequences together, while all of them run: between the last one's first token and the first
 * one's last. Each has its own rate there, from its first token to its last; these add up.
 * @param times when each sequence's tokens came, in milliseconds, ascending
 */
export function commonRate(times: readonly (readonly number[])[]): number {
  const from = Math.max(...times.map((t) => t[0]!));
  const to = Math.min(...times.map((t) => t.at(-1)!));
  return times.reduce((sum, all) => {
    const inside = all.filter((t) => t >= from && t <= to);
    if (inside.length < 2) throw apart(times.length);
    return sum + (1000 * (inside.length - 1)) / (inside.at(-1)! - inside[0]!);
  }, 0);
}

function apart(sequences: number): ArgumentError {
  return new ArgumentError(
    `${sequences} sequences did not decode together: some ended before others had begun. Give more tokens, or fewer sequences.`,
  );
}
