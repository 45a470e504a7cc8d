/** One generation: runs the stream, gathers its text by animation frame, and measures it. */
import type { ChatMessage, Delta, Engine, GenerateOptions, GenerationResult } from "../src/index.ts";

export interface Figures {
  /** From the request to the first token. */
  firstTokenMs: number | null;
  /** Tokens after the first, by the time since the first. */
  tokensPerSecond: number | null;
  tokens: number;
}

/** Where a generation shows. Both are called at most once a frame, and once more at the end. */
export interface Sink {
  append(text: string, channel: Delta["channel"]): void;
  measure(figures: Figures): void;
}

/** Figures while a stream runs, by the page's clock. Times in milliseconds. */
export class Meter {
  readonly #start: number;
  #first: number | null = null;
  #firstTokens = 0;
  #tokens = 0;

  constructor(start: number) {
    this.#start = start;
  }

  add(tokens: number, now: number): void {
    if (tokens === 0) return;
    if (this.#first === null) {
      this.#first = now;
      this.#firstTokens = tokens;
    }
    this.#tokens += tokens;
  }

  figures(now: number): Figures {
    const first = this.#first;
    const after = this.#tokens - this.#firstTokens;
    const rate = first !== null && after > 0 && now > first ? (1000 * after) / (now - first) : null;
    return { firstTokenMs: first === null ? null : first - this.#start, tokensPerSecond: rate, tokens: this.#tokens };
  }
}

/** The engine's own account of a finished generation. */
export function finalFigures({ usage, timing }: Pick<GenerationResult, "usage" | "timing">): Figures {
  const tokens = usage.completionTokens;
  return {
    firstTokenMs: tokens > 0 ? timing.firstTokenMs : null,
    tokensPerSecond: tokens > 1 && timing.decodeMs > 0 ? (1000 * (tokens - 1)) / timing.decodeMs : null,
    tokens,
  };
}

/**
 * Generates into `sink`. Resolves when the text is whole or `options.signal` fires; rejects as the stream does, with
 * all that came before it shown.
 */
export async function write(
  engine: Engine,
  input: string | ChatMessage[],
  options: GenerateOptions,
  sink: Sink,
): Promise<GenerationResult> {
  const meter = new Meter(performance.now());
  let pending: Delta[] = [];
  let frame = 0;
  const flush = () => {
    frame = 0;
    for (const { text, channel } of joined(pending)) sink.append(text, channel);
    pending = [];
    sink.measure(meter.figures(performance.now()));
  };
  try {
    const generation = engine.generate(input, options);
    for await (const delta of generation) {
      meter.add(delta.ids.length, performance.now());
      pending.push(delta);
      // A hidden tab has no frames: what gathers there is shown when it comes back, or at the end.
      frame ||= requestAnimationFrame(flush);
    }
    const result = await generation.result;
    flush();
    sink.measure(finalFigures(result));
    return result;
  } finally {
    cancelAnimationFrame(frame);
    if (pending.length > 0) flush();
  }
}

function joined(deltas: Delta[]): { text: string; channel: Delta["channel"] }[] {
  const runs: { text: string; channel: Delta["channel"] }[] = [];
  for (const { text, channel } of deltas) {
    const last = runs.at(-1);
    if (last?.channel === channel) last.text += text;
    else runs.push({ text, channel });
  }
  return runs.filter(({ text }) => text !== "");
}
