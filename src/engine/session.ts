import {
  AbortError,
  ArgumentError,
  ContextLengthError,
  TemplateError,
  TokenizerError,
  TooLargeError,
} from "../base/errors.ts";
import { renderChat } from "../text/chat.ts";
import { StopStrings } from "../text/stop.ts";
import type { Detokenizer } from "../text/detokenizer.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import type { Core } from "./core.ts";
import type {
  AllowedTokens,
  ChatMessage,
  Choice,
  Delta,
  FinishReason,
  GenerationResult,
  Logprobs,
  PortInput,
  RestoredSession,
  RestoreOptions,
  RowRange,
  SamplingOptions,
  SaveOptions,
} from "./port.ts";
import { maskOf } from "./masks.ts";
import type { Regimes } from "./regimes.ts";
import { samplingOf } from "./sampling.ts";
import { restoreSession, saveSession, type Saving } from "./saving.ts";
import { rowRange, type Request } from "./sequence.ts";

const DEFAULT_MAX_TOKENS = 512;

/** What a checkpoint brings for text; without a tokenizer only ids go in, and text comes out empty. */
export interface TextTools {
  readonly tokenizer?: Tokenizer;
  readonly chatTemplate?: string;
}

export interface SessionLimits {
  readonly contextTokens: number;
  readonly vocabSize: number;
  readonly slots: number;
  readonly endIds: readonly number[];
  readonly regimes: Regimes;
}

/** Requests as callers make them, in ids and text; the core below knows ids only. */
export class Session {
  private readonly endIds: ReadonlySet<number>;

  constructor(
    private readonly core: Core,
    private readonly text: TextTools,
    private readonly limits: SessionLimits,
    private readonly saving: Saving,
  ) {
    this.endIds = new Set(limits.endIds);
  }

  generate(
    input: PortInput,
    options: SamplingOptions,
    onDelta: (delta: Delta) => void,
    signal?: AbortSignal,
    allowed?: AllowedTokens,
  ): Promise<GenerationResult> {
    const ids = this.idsOf(input);
    const n = positiveInteger("n", options.n ?? 1);
    if (n > this.limits.slots) throw new ArgumentError(`n is ${n}; this engine runs ${this.limits.slots} sequences.`);
    const sampling = samplingOf(options, this.limits.vocabSize, ids.length);
    const { contextTokens, regimes } = this.limits;
    if (ids.length >= contextTokens) throw new ContextLengthError(ids.length + 1, contextTokens, PROMPT_HINT);
    const maxTokens = this.maxTokens(ids, options);
    const after = Array.isArray(input) && typeof input[0] === "object" ? [] : ids;
    const choices = Array.from({ length: n }, (_, index) => this.choice(index, after, options.stop ?? []));
    if (signal?.aborted) return Promise.resolve(aborted(choices, ids.length));
    const request = {
      ids,
      n,
      endIds: this.endIds,
      task: { kind: "generate", maxTokens, sampling },
      priority: options.priority ?? 0,
      salt: saltOf(options),
      regime: regimes.of(ids.length + maxTokens),
      ...(allowed && { stepwise: true, allowed: maskOf(allowed, this.limits.vocabSize) }),
    } as const;
    const { temperature, seed } = sampling;
    return this.run(request, choices, onDelta, signal).then((result) =>
      temperature > 0 ? { ...result, seed } : result,
    );
  }

  /** Tokens that may follow a prompt: as many as are asked for, and as the context still holds. */
  private maxTokens(ids: readonly number[], options: { readonly maxTokens?: number }): number {
    const wanted = positiveInteger("maxTokens", options.maxTokens ?? DEFAULT_MAX_TOKENS);
    return Math.min(wanted, this.limits.contextTokens - ids.length);
  }

  /** The input's entries of the cache as bytes, computed where they are not there. */
  save(input: PortInput, options: SaveOptions, signal?: AbortSignal): Promise<Uint8Array<ArrayBuffer>> {
    const ids = this.idsOf(input);
    const { contextTokens, vocabSize, regimes } = this.limits;
    if (ids.length > contextTokens) throw new ContextLengthError(ids.length, contextTokens);
    const { drawn } = samplingOf({ drawn: options.drawn ?? 0 }, vocabSize, ids.length);
    const sampler = { ...(options.seed !== undefined && { seed: options.seed >>> 0 }), ...(drawn > 0 && { drawn }) };
    const regime = regimes.of(ids.length + this.maxTokens(ids, options));
    const wanted = { ids: [...ids], salt: saltOf(options), regime, signal };
    return saveSession(this.core, this.saving, wanted, sampler);
  }

  /** Saved bytes back in the cache. */
  restore(bytes: Uint8Array, options: RestoreOptions, signal?: AbortSignal): Promise<RestoredSession> {
    if (!(bytes instanceof Uint8Array))
      throw new ArgumentError("A saved session is a Uint8Array, as saveSession gave it.");
    return restoreSession(this.core, this.saving, bytes, this.limits, { salt: saltOf(options), signal });
  }

  private run(
    base: Omit<Request, "listener">,
    choices: ChoiceText[],
    onDelta: (delta: Delta) => void,
    signal?: AbortSignal,
  ): Promise<GenerationResult> {
    const begun = performance.now();
    let first: number | undefined;
    return new Promise((resolve, reject) => {
      let settled = false;
      const settle = (action: () => void): void => {
        if (settled) return;
        settled = true;
        signal?.removeEventListener("abort", onAbort);
        action();
      };
      const emit = (delta: Delta | undefined): void => {
        if (delta && !settled) onDelta(delta);
      };
      const request: Request = {
        ...base,
        listener: {
          onToken: (index, id, logprobs) => {
            first ??= performance.now();
            const choice = choices[index]!;
            emit(choice.push(id, logprobs));
            if (choice.stopped) this.core.cancel(request, "stop", index);
          },
          onFinish: (index, reason) => emit(choices[index]!.finish(reason)),
          onError: (error) => settle(() => reject(error)),
          onDone: () => settle(() => resolve(resultOf(choices, base.ids.length, timing(begun, first)))),
        },
      };
      const onAbort = (): void => this.core.cancel(request, "abort");
      this.core.add(request);
      signal?.addEventListener("abort", onAbort, { once: true });
    });
  }

  /** f32, [rows, vocab]. */
  logits(ids: readonly number[], rows: RowRange, signal?: AbortSignal): Promise<Float32Array> {
    this.checkIds(ids);
    const { from, to } = rowRange(rows, ids.length);
    if (!(Number.isInteger(from) && Number.isInteger(to) && from >= 0 && from < to && to <= ids.length)) {
      throw new ArgumentError(`rows [${from}, ${to}) are not within the ${ids.length} rows of these ids.`);
    }
    return this.read(ids, { kind: "logits", from, to }, (to - from) * this.limits.vocabSize, "The logits", signal);
  }

  /** f32, [ids.length − 1]. */
  score(ids: readonly number[], signal?: AbortSignal): Promise<Float32Array> {
    this.checkIds(ids);
    if (ids.length < 2) throw new ArgumentError("score needs at least two ids: the first has nothing before it.");
    return this.read(ids, { kind: "score" }, ids.length - 1, "The scores", signal);
  }

  private read(
    ids: readonly number[],
    task: Request["task"],
    length: number,
    what: string,
    signal?: AbortSignal,
  ): Promise<Float32Array> {
    if (ids.length > this.limits.contextTokens) {
      throw new ContextLengthError(ids.length, this.limits.contextTokens);
    }
    let values: Float32Array;
    try {
      values = new Float32Array(length);
    } catch {
      throw new TooLargeError(what, length * 4, "Ask for fewer rows, for instance rows: [from, to].");
    }
    let filled = 0;
    return new Promise((resolve, reject) => {
      const request: Request = {
        ids,
        task,
        n: 1,
        endIds: this.endIds,
        regime: this.limits.regimes.of(ids.length),
        listener: {
          onRows: (part) => {
            values.set(part, filled);
            filled += part.length;
          },
          onError: reject,
          onDone: () => {
            signal?.removeEventListener("abort", onAbort);
            if (filled === length) resolve(values);
            else reject(new AbortError(what, signal?.reason));
          },
        },
      };
      const onAbort = (): void => this.core.cancel(request, "abort");
      if (signal?.aborted) return reject(new AbortError(what, signal?.reason));
      this.core.add(request);
      signal?.addEventListener("abort", onAbort, { once: true });
    });
  }

  encode(text: string, options?: { specialTokens?: boolean }): number[] {
    return this.tokenizer("encode text").encode(text, options);
  }

  decode(ids: readonly number[], options?: { skipSpecialTokens?: boolean }): string {
    return this.tokenizer("decode ids").decode(ids, options);
  }

  private idsOf(input: PortInput): number[] {
    if (typeof input === "string") {
      const ids = this.tokenizer("take text").encode(input);
      if (ids.length === 0) {
        throw new ArgumentError("The prompt is empty, and this tokenizer adds no token of its own: give some text.");
      }
      return this.checkIds(ids);
    }
    if (!Array.isArray(input)) throw new ArgumentError("The input is a string, a list of token ids, or of messages.");
    if (typeof input[0] === "object") return this.checkIds(this.render(input as ChatMessage[]));
    return this.checkIds(input as number[]);
  }

  private render(messages: ChatMessage[]): number[] {
    const tokenizer = this.tokenizer("take messages");
    if (this.text.chatTemplate === undefined) {
      throw new TemplateError("This checkpoint has no chat template. Give the prompt as a string instead of messages.");
    }
    const { bosToken, eosToken } = tokenizer;
    const prompt = renderChat(this.text.chatTemplate, messages, {
      ...(bosToken !== undefined && { bosToken }),
      ...(eosToken !== undefined && { eosToken }),
      addGenerationPrompt: true,
    });
    return tokenizer.encode(prompt, { specialTokens: false }); // the template has put them
  }

  private tokenizer(purpose: string): Tokenizer {
    if (this.text.tokenizer) return this.text.tokenizer;
    throw new TokenizerError(`This checkpoint has no tokenizer.json, so it cannot ${purpose}: give token ids instead.`);
  }

  private checkIds<T extends readonly number[]>(ids: T): T {
    const { vocabSize } = this.limits;
    if (ids.length === 0) throw new ArgumentError("The list of token ids is empty.");
    const bad = ids.find((id) => !Number.isInteger(id) || id < 0 || id >= vocabSize);
    if (bad !== undefined) throw new ArgumentError(`${bad} is not a token id: ids are from 0 to ${vocabSize - 1}.`);
    return ids;
  }

  private choice(index: number, after: readonly number[], stop: readonly string[]): ChoiceText {
    return new ChoiceText(index, this.text.tokenizer?.detokenizer({ after }), new StopStrings(stop));
  }
}

const PROMPT_HINT = "Shorten the prompt, or load with a larger contextTokens; one token of answer has to fit too.";

/** One continuation's ids and text as they become final. */
class ChoiceText {
  readonly ids: number[] = [];
  readonly logprobs: Logprobs[] = [];
  text = "";
  stopped = false;
  finishReason: FinishReason | undefined;

  constructor(
    readonly index: number,
    private readonly detokenizer: Detokenizer | undefined,
    private readonly stops: StopStrings,
  ) {}

  push(id: number, logprobs?: Logprobs): Delta {
    this.ids.push(id);
    if (logprobs) this.logprobs.push(logprobs);
    const { text, stopped } = this.stops.push(this.detokenizer?.push(id) ?? "");
    this.stopped = stopped;
    this.text += text;
    return { index: this.index, ids: [id], text, channel: "final", ...(logprobs && { logprobs: [logprobs] }) };
  }

  /** What was held back is final now; a delta only if there is any. */
  finish(reason: FinishReason): Delta | undefined {
    this.finishReason = reason;
    if (this.stopped) return undefined;
    const last = this.stops.push(this.detokenizer?.flush() ?? "");
    const text = last.text + (last.stopped ? "" : this.stops.flush());
    this.text += text;
    if (last.stopped) this.finishReason = "stop";
    return text ? { index: this.index, ids: [], text, channel: "final" } : undefined;
  }
}

function resultOf(
  choices: readonly ChoiceText[],
  promptTokens: number,
  timing: GenerationResult["timing"],
): GenerationResult {
  const all: Choice[] = choices.map(({ index, ids, text, finishReason, logprobs }) => ({
    index,
    ids,
    text,
    finishReason: finishReason ?? "abort",
    ...(logprobs.length > 0 && { logprobs }),
  }));
  const { ids, text, finishReason, logprobs } = all[0]!;
  const completionTokens = all.reduce((n, c) => n + c.ids.length, 0);
  return {
    ids,
    text,
    finishReason,
    ...(logprobs && { logprobs }),
    choices: all,
    usage: { promptTokens, completionTokens },
    timing,
  };
}

function aborted(choices: readonly ChoiceText[], promptTokens: number): GenerationResult {
  return resultOf(choices, promptTokens, { firstTokenMs: 0, decodeMs: 0, totalMs: 0 });
}

function timing(begun: number, first: number | undefined): GenerationResult["timing"] {
  const end = performance.now();
  return {
    firstTokenMs: (first ?? end) - begun,
    decodeMs: first === undefined ? 0 : end - first,
    totalMs: end - begun,
  };
}

function saltOf({ cacheSalt = "" }: { cacheSalt?: string }): string {
  if (typeof cacheSalt !== "string") throw new ArgumentError("cacheSalt has to be a string.");
  return cacheSalt;
}

function positiveInteger(name: string, value: number): number {
  if (!Number.isInteger(value) || value < 1)
    throw new ArgumentError(`${name} is ${value}; it has to be an integer ≥ 1.`);
  return value;
}
