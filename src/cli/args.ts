import { parseArgs, type ParseArgsConfig } from "node:util";
import type { LoadOptions } from "../engine/load.ts";
import type { SamplingOptions } from "../engine/port.ts";
import { COMMANDS, HELP, isCommand, OVERVIEW, type Command } from "./help.ts";

/** The line that was typed is not one that Tessera takes. `usage` is what to show beside the message. */
export class UsageError extends Error {
  readonly usage: string;
  constructor(message: string, command?: Command) {
    super(message);
    this.name = "UsageError";
    this.usage = command ? HELP[command].synopsis : OVERVIEW;
  }
}

/** What all commands say of their model, in the library's own terms. */
export interface ModelArgs {
  model: string;
  load: Pick<LoadOptions, "weights" | "kv" | "contextTokens" | "memoryBytes" | "revision" | "endpoint">;
}

export type Input = { prompt: string } | { ids: number[] } | { messagesFile: string };

export interface GenerateArgs extends ModelArgs {
  command: "generate";
  input: Input;
  sampling: SamplingOptions;
  json: boolean;
}

export interface LogitsArgs extends ModelArgs {
  command: "logits";
  ids: number[];
  out: string;
}

export interface PerplexityArgs extends ModelArgs {
  command: "perplexity";
  textFile: string;
  json: boolean;
}

export interface InspectArgs extends ModelArgs {
  command: "inspect";
  tensors: boolean;
  json: boolean;
}

export interface KernelBenchArgs {
  command: "bench";
  subject: "kernels";
  filter: string | undefined;
  effort: "default" | "quick" | "full";
  json: boolean;
}

/** `bench decode` and `bench prefill`; what is absent is the bench's own default. */
export interface ModelBenchArgs {
  command: "bench";
  subject: "decode" | "prefill";
  /** A checkpoint, or else a shape to make a model of. */
  model?: string;
  shape?: string;
  load: Omit<ModelArgs["load"], "contextTokens">;
  contexts?: number[];
  sequences?: number[];
  tokens?: number;
  prompts?: number[];
  rounds?: number;
  json: boolean;
}

export type BenchArgs = KernelBenchArgs | ModelBenchArgs;

export type Invocation =
  | { command: "help"; text: string }
  | { command: "version" }
  | GenerateArgs
  | LogitsArgs
  | PerplexityArgs
  | InspectArgs
  | BenchArgs;

const text = { type: "string" } as const;
const flag = { type: "boolean" } as const;
const help = { type: "boolean", short: "h" } as const;

/** Flags of whatever loads a model. */
const LOAD = {
  model: text,
  weights: text,
  kv: text,
  revision: text,
  endpoint: text,
  deterministic: flag,
  help,
};
const MODEL = { ...LOAD, context: text };

type FlagTable = NonNullable<ParseArgsConfig["options"]>;

const FLAGS: Record<Exclude<Command, "bench">, FlagTable> = {
  generate: {
    ...MODEL,
    memory: text,
    prompt: text,
    ids: text,
    messages: text,
    "max-tokens": text,
    temperature: text,
    seed: text,
    "top-k": text,
    "top-p": text,
    "min-p": text,
    "repetition-penalty": text,
    "frequency-penalty": text,
    "presence-penalty": text,
    logprobs: text,
    stop: { type: "string", multiple: true },
    n: text,
    json: flag,
  },
  logits: { ...MODEL, memory: text, ids: text, out: text },
  perplexity: { ...MODEL, memory: text, text, json: flag },
  inspect: { ...MODEL, memory: text, tensors: flag, json: flag },
};

const MODEL_BENCH = { ...LOAD, memory: text, shape: text, rounds: text, json: flag };
const BENCH_FLAGS: Record<BenchArgs["subject"], FlagTable> = {
  kernels: { filter: text, quick: flag, full: flag, json: flag, help },
  decode: { ...MODEL_BENCH, context: text, sequences: text, tokens: text },
  prefill: { ...MODEL_BENCH, prompt: text },
};

const WEIGHTS = ["published", "auto", "f32", "bf16", "f16", "q8", "q4"] as const;
const KV = ["f32", "f16", "int8"] as const;

/** Reads a command line, `argv` without node and script. Throws UsageError. */
export function readArgs(argv: readonly string[]): Invocation {
  const [first, ...rest] = argv;
  if (first === undefined) throw new UsageError("no command was given.");
  if (first === "--help" || first === "-h" || first === "help") {
    const [about] = rest;
    return { command: "help", text: about !== undefined && isCommand(about) ? HELP[about].text : OVERVIEW };
  }
  if (first === "--version") return { command: "version" };
  if (!isCommand(first)) {
    if (first.startsWith("-")) throw new UsageError(`the command comes first, before ${first}.`);
    throw new UsageError(`there is no command ${JSON.stringify(first)}. Commands: ${COMMANDS.join(", ")}.`);
  }
  return first === "bench" ? readBench(rest) : readCommand(first, new Flags(first, rest, FLAGS[first]));
}

/** What is measured comes first: "kernels". */
function readBench(rest: string[]): Invocation {
  const subject = rest[0]?.startsWith("-") ? undefined : rest[0];
  if (subject === undefined && rest.some((word) => word === "--help" || word === "-h")) {
    return { command: "help", text: HELP.bench.text };
  }
  if (subject !== "kernels" && subject !== "decode" && subject !== "prefill") {
    const said = subject === undefined ? "say which" : `not ${JSON.stringify(subject)}`;
    throw new UsageError(`bench measures kernels, decode or prefill; ${said}.`, "bench");
  }
  const flags = new Flags("bench", rest.slice(1), BENCH_FLAGS[subject]);
  if (flags.has("help")) return { command: "help", text: HELP.bench.text };
  return subject === "kernels" ? readKernelBench(flags) : readModelBench(subject, flags);
}

function readKernelBench(flags: Flags): KernelBenchArgs {
  if (flags.has("quick") && flags.has("full")) throw flags.error("--quick and --full exclude each other.");
  const effort = flags.has("quick") ? "quick" : flags.has("full") ? "full" : "default";
  return { command: "bench", subject: "kernels", filter: flags.text("filter"), effort, json: flags.has("json") };
}

function readModelBench(subject: ModelBenchArgs["subject"], flags: Flags): ModelBenchArgs {
  const [model, shape] = [flags.text("model"), flags.text("shape")];
  if (model !== undefined && shape !== undefined) throw flags.error("--model and --shape exclude each other.");
  return {
    command: "bench",
    subject,
    load: readLoad(flags),
    ...defined({
      model,
      shape,
      contexts: flags.integers("context"),
      sequences: flags.integers("sequences"),
      tokens: flags.integer("tokens", 1),
      prompts: flags.integers("prompt"),
      rounds: flags.integer("rounds", 1),
    }),
    json: flags.has("json"),
  };
}

function readCommand(command: Exclude<Command, "bench">, flags: Flags): Invocation {
  if (flags.has("help")) return { command: "help", text: HELP[command].text };
  const model = readModel(flags);
  const json = flags.has("json");
  switch (command) {
    case "generate":
      return { command, ...model, input: readInput(flags), sampling: readSampling(flags), json };
    case "logits":
      return { command, ...model, ids: parseIds(flags, flags.required("ids")), out: flags.required("out") };
    case "perplexity":
      return { command, ...model, textFile: flags.required("text"), json };
    case "inspect":
      return { command, ...model, tensors: flags.has("tensors"), json };
  }
}

function readModel(flags: Flags): ModelArgs {
  return {
    model: flags.required("model"),
    load: { ...readLoad(flags), ...defined({ contextTokens: flags.integer("context", 2) }) },
  };
}

function readLoad(flags: Flags): Omit<ModelArgs["load"], "contextTokens"> {
  return defined({
    weights: flags.oneOf("weights", WEIGHTS),
    kv: flags.oneOf("kv", KV),
    memoryBytes: flags.integer("memory", 1),
    revision: flags.text("revision"),
    endpoint: flags.text("endpoint"),
    deterministic: flags.has("deterministic") || undefined,
  });
}

function readInput(flags: Flags): Input {
  const given = (["prompt", "ids", "messages"] as const).filter((name) => flags.text(name) !== undefined);
  const [kind] = given;
  if (kind === undefined) throw flags.error("one of --prompt, --ids and --messages has to be given.");
  if (given.length > 1) throw flags.error(`--${given.join(" and --")} exclude each other: give one of them.`);
  const value = flags.required(kind);
  if (kind === "prompt") return { prompt: value };
  return kind === "ids" ? { ids: parseIds(flags, value) } : { messagesFile: value };
}

function readSampling(flags: Flags): SamplingOptions {
  return defined({
    maxTokens: flags.integer("max-tokens", 1),
    temperature: flags.number("temperature"),
    seed: flags.integer("seed", 0, 2 ** 32 - 1),
    topK: flags.integer("top-k", 0),
    topP: flags.number("top-p"),
    minP: flags.number("min-p"),
    repetitionPenalty: flags.number("repetition-penalty"),
    frequencyPenalty: flags.number("frequency-penalty"),
    presencePenalty: flags.number("presence-penalty"),
    logprobs: flags.integer("logprobs", 0),
    stop: flags.texts("stop"),
    n: flags.integer("n", 1),
  });
}

/** "1,2,3"; white space may stand in for the commas or beside them. */
function parseIds(flags: Flags, value: string): number[] {
  const parts = value.trim().split(/\s*,\s*|\s+/);
  const bad = parts.find((part) => !/^\d{1,10}$/.test(part));
  if (bad === undefined) return parts.map(Number);
  throw flags.error(`--ids takes token ids such as 1,2,3; ${JSON.stringify(bad)} is none.`);
}

/** The flags of one command, as they were typed; reading one of them checks it. */
class Flags {
  private readonly values: Record<string, string | boolean | (string | boolean)[] | undefined>;

  constructor(
    private readonly command: Command,
    args: string[],
    options: FlagTable,
  ) {
    try {
      this.values = parseArgs({ args, options, allowPositionals: false }).values;
    } catch (error) {
      throw this.error(refusal(error));
    }
  }

  error(message: string): UsageError {
    return new UsageError(message, this.command);
  }

  has(name: string): boolean {
    return this.values[name] === true;
  }

  text(name: string): string | undefined {
    const value = this.values[name];
    return typeof value === "string" ? value : undefined;
  }

  texts(name: string): string[] | undefined {
    const value = this.values[name];
    return Array.isArray(value) ? value.map(String) : undefined;
  }

  required(name: string): string {
    const value = this.text(name);
    if (value === undefined) throw this.error(`--${name} is missing.`);
    return value;
  }

  oneOf<T extends string>(name: string, allowed: readonly T[]): T | undefined {
    const value = this.text(name);
    if (value === undefined) return undefined;
    const found = allowed.find((item) => item === value);
    if (found) return found;
    throw this.error(`--${name} is one of ${allowed.join(", ")}; ${JSON.stringify(value)} is not.`);
  }

  integer(name: string, min: number, max = Number.MAX_SAFE_INTEGER): number | undefined {
    const value = this.text(name);
    if (value === undefined) return undefined;
    if (/^\d+$/.test(value) && Number(value) >= min && Number(value) <= max) return Number(value);
    const range = max === Number.MAX_SAFE_INTEGER ? `${min} up` : `${min} to ${max}`;
    throw this.error(`--${name} is an integer from ${range}; ${JSON.stringify(value)} is none.`);
  }

  /** "64,512": integers from 1 up. */
  integers(name: string): number[] | undefined {
    const parts = this.text(name)
      ?.trim()
      .split(/\s*,\s*/);
    const bad = parts?.find((part) => !/^[1-9]\d{0,8}$/.test(part));
    if (bad === undefined) return parts?.map(Number);
    throw this.error(`--${name} takes integers from 1 up such as 64,512; ${JSON.stringify(bad)} is none.`);
  }

  /** A number ≥ 0. */
  number(name: string): number | undefined {
    const value = this.text(name);
    if (value === undefined) return undefined;
    if (/^(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(value) && Number.isFinite(Number(value))) return Number(value);
    throw this.error(`--${name} is a number from 0 up; ${JSON.stringify(value)} is none.`);
  }
}

/** parseArgs' own words, but for its advice on positionals, which no command takes. Anything else is thrown on. */
function refusal(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  if (!code?.startsWith("ERR_PARSE_ARGS_")) throw error;
  const told = code === "ERR_PARSE_ARGS_UNKNOWN_OPTION" ? message.replace(/\. To specify.*/s, "") : message;
  return `${told.replace(/\s*\n\s*/g, " ").replace(/\.$/, "")}.`;
}

/** Without the fields that are undefined: an option that is there counts as given. */
function defined<T extends object>(fields: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  const given = Object.entries(fields).filter(([, value]) => value !== undefined);
  return Object.fromEntries(given) as { [K in keyof T]?: Exclude<T[K], undefined> };
}
