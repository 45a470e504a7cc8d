/** From a checkpoint folder to everything that is known before a GPU is asked for: what can be wrong with files is found here. */
import type { Repo } from "../base/bytes.ts";
import { AbortError, ArgumentError, SourceError, UnsupportedError } from "../base/errors.ts";
import type { CacheSpec, Family, ModelConfig } from "../models/family.ts";
import { findFamily } from "../models/index.ts";
import { openRepo } from "../store/repo.ts";
import { Tokenizer } from "../text/tokenizer.ts";
import { openCheckpoint } from "../weights/checkpoint.ts";
import { entryBytes } from "./cache.ts";
import { chooseWeights, keptIn, roomOf } from "./auto-weights.ts";
import type { CheckpointOptions, LoadOptions } from "./options.ts";
import type { KvFormat, LoadProgress, ModelInfo, WeightFormat } from "./port.ts";
import type { TextTools } from "./session.ts";
import { planWeights, type WeightPlan } from "./weight-plan.ts";

export type { CheckpointOptions } from "./options.ts";

/** Where a checkpoint is. string: a Hub id "org/name", the URL of a folder, or in Node a path that starts with "." or "/". */
export type ModelSource = string | File[] | FileSystemDirectoryHandle;

/** A checkpoint whose files have been read and matched, all but the weights themselves. */
export interface ReadCheckpoint {
  family: Family;
  config: ModelConfig;
  plan: WeightPlan;
  text: TextTools;
  endIds: number[];
  contextTokens: number;
  kv: KvFormat;
  info: ModelInfo;
  /** Under weights: "auto", the same in fewer bits, for a device that refuses this. */
  otherwise?: ReadCheckpoint;
}

/** What `inspectCheckpoint` tells; plain data. */
export interface Inspection {
  info: ModelInfo;
  /**
   * Query heads (null where the family has none), key and value heads, elements of one head. With latent attention that is
   * the one latent, and what the cache would take a token if every head kept its keys and values.
   */
  attention: { heads: number | null; kvHeads: number; headDim: number; expandedKvBytesPerToken?: number };
  /** Every file that loading would read, with its whole size in bytes. */
  files: { name: string; bytes: number }[];
  /** Every tensor of the files, whether the model uses it or not, in file order. */
  tensors: { name: string; dtype: string; shape: number[]; bytes: number; file: string }[];
}

const DEFAULT_CONTEXT = 4096;

/**
 * Describes a checkpoint as it would be loaded, from its JSON files and the headers of its weights. Needs no GPU.
 * @throws what `Engine.load` throws for files that are missing, malformed or not supported.
 */
export async function inspectCheckpoint(source: ModelSource, options: CheckpointOptions = {}): Promise<Inspection> {
  if (options.signal?.aborted) throw new AbortError("Inspecting", options.signal.reason);
  const repo = await openRepo(source, options);
  const sizes = new Map<string, number>();
  const noted: Repo = {
    label: repo.label,
    open: async (name, signal) => {
      const file = await repo.open(name, signal);
      if (file) sizes.set(name, file.size);
      return file;
    },
  };
  const { family, config, plan, info } = await readCheckpoint(noted, options);
  const attention = attentionOf(family.cacheSpec(config), info.kv);
  const heads = "heads" in config && typeof config.heads === "number" ? config.heads : null;
  return {
    info,
    attention: { heads, ...attention },
    files: [...sizes].map(([name, bytes]) => ({ name, bytes })).sort((a, b) => (a.name < b.name ? -1 : 1)),
    tensors: [...plan.checkpoint.tensors.values()].map(({ name, dtype, shape, begin, end, file }) => ({
      name,
      dtype,
      shape: [...shape],
      bytes: end - begin,
      file: file.name,
    })),
  };
}

function attentionOf(spec: CacheSpec, kv: KvFormat): Omit<Inspection["attention"], "heads"> {
  if (spec.kind === "kv") return { kvHeads: spec.heads, headDim: spec.headDim };
  const { rank, ropeDim, expanded, layers } = spec;
  const expandedKvBytesPerToken = (entryBytes(spec, kv) / (rank + ropeDim)) * expanded * layers;
  return { kvHeads: 1, headDim: rank + ropeDim, expandedKvBytesPerToken };
}

function checkInt8(spec: CacheSpec): void {
  if (spec.kind === "latent") {
    throw new UnsupportedError(
      `kv: "int8" is not there for latent attention, whose cache is small. Use "f16" or "f32".`,
    );
  }
  const { headDim, valueDim = headDim } = spec;
  if (headDim % 8 || valueDim % 8) {
    throw new UnsupportedError(`kv: "int8" needs heads in multiples of 8; these have ${headDim}. Use "f16" or "f32".`);
  }
}

/** Everything that can be wrong with the files or with what is asked of them is found here. */
export async function readCheckpoint(
  repo: Repo,
  options: CheckpointOptions & Pick<LoadOptions, "device">,
  report: (stage: LoadProgress["stage"], loaded: number, total: number) => void = () => undefined,
): Promise<ReadCheckpoint> {
  const { weights = "published", signal } = options;
  const json = await readJson(repo, "config.json", signal);
  if (json === undefined) {
    const hint = "Give the folder that holds config.json, tokenizer.json and *.safetensors.";
    throw new SourceError("config.json", `not found in ${repo.label}. ${hint}`);
  }
  const { family, json: configJson } = findFamily(json);
  const config = family.parseConfig(configJson);
  const contextTokens = contextOf(config, options.contextTokens);
  if (options.kv === "int8") checkInt8(family.cacheSpec(config));
  const checkpoint = await openCheckpoint((name, s) => repo.open(name, s), signal);
  const first = weights === "auto" ? "published" : weights;
  const plan = planWeights(family.weightTable(config), checkpoint, first, family.optionalPrefix);
  report("tokenizer", 0, 1);
  const [tokenizerJson, tokenizerConfig, generation, template] = await Promise.all([
    readJson(repo, "tokenizer.json", signal),
    readJson(repo, "tokenizer_config.json", signal),
    readJson(repo, "generation_config.json", signal),
    readText(repo, "chat_template.jinja", signal),
  ]);
  const tokenizer = tokenizerJson === undefined ? undefined : Tokenizer.parse(tokenizerJson, tokenizerConfig);
  const chatTemplate = template ?? tokenizer?.chatTemplate;
  report("tokenizer", 1, 1);
  const endIds = [...new Set([...config.eosIds, ...endIdsOf(generation, config.vocabSize)])];
  const text = { ...(tokenizer && { tokenizer }), ...(chatTemplate !== undefined && { chatTemplate }) };
  const parts = { family, config, text, endIds, contextTokens };
  const read = (as: WeightPlan, reason: string): ReadCheckpoint => {
    const made = { ...parts, plan: as, kv: kvOf(as, options) };
    return { ...made, info: describe(made, reason) };
  };
  if (weights !== "auto") return read(plan, reasonOf(plan, weights));
  const room = await roomOf(options);
  const choices = chooseWeights(plan, (as) => ({ ...parts, kv: kvOf(as, options) }), room);
  return choices.reduceRight<ReadCheckpoint | undefined>((otherwise, { plan: as, reason }) => {
    return { ...read(as, reason), ...(otherwise && { otherwise }) };
  }, undefined)!;
}

const kvOf = (plan: WeightPlan, { kv }: CheckpointOptions): KvFormat => kv ?? (plan.dominant === "f32" ? "f32" : "f16");

async function readText(repo: Repo, name: string, signal?: AbortSignal): Promise<string | undefined> {
  const file = await repo.open(name, signal);
  return file ? new TextDecoder().decode(await file.read(0, file.size, signal)) : undefined;
}

async function readJson(repo: Repo, name: string, signal?: AbortSignal): Promise<unknown> {
  const text = await readText(repo, name, signal);
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    throw new SourceError(name, `is not JSON: ${(cause as Error).message}`, { cause });
  }
}

/** End tokens that only generation_config.json names. */
function endIdsOf(generation: unknown, vocabSize: number): number[] {
  const value = (generation as { eos_token_id?: unknown } | undefined)?.eos_token_id;
  const ids: unknown[] = Array.isArray(value) ? value : [value];
  return ids.filter((id): id is number => Number.isInteger(id) && (id as number) >= 0 && (id as number) < vocabSize);
}

function contextOf(config: ModelConfig, wanted: number | undefined): number {
  if (wanted === undefined) return Math.min(config.contextTokens, DEFAULT_CONTEXT);
  if (!Number.isInteger(wanted) || wanted < 2 || wanted > config.contextTokens) {
    throw new ArgumentError(
      `contextTokens is ${wanted}; this checkpoint was made for ${config.contextTokens} tokens, and at least 2 are needed.`,
    );
  }
  return wanted;
}

function describe(
  { family, config, plan, text, endIds, contextTokens, kv }: Omit<ReadCheckpoint, "info">,
  reason: string,
): ModelInfo {
  const cache = family.cacheSpec(config);
  const regimes = family.regimes(config, contextTokens);
  let active = 0;
  let multiplied = 0;
  for (const entry of plan.table.values()) {
    if (entry.kind === "vector") active += entry.tensor === undefined || entry.optional ? 0 : entry.width;
    else if (entry.gatherOnly) active += entry.inFeatures;
    else {
      const { active: share = 1 } = entry;
      multiplied += Math.round(share * entry.inFeatures * entry.outFeatures);
      for (const { rows } of entry.bias ?? []) active += Math.round(share * rows);
    }
  }
  return {
    modelType: config.modelType,
    layers: config.layers,
    hiddenSize: config.hiddenSize,
    vocabSize: config.vocabSize,
    parameters: plan.parameters,
    activeParameters: active + multiplied,
    flopsPerToken: 2 * multiplied,
    kvBytesPerToken: cache.layers * entryBytes(cache, kv),
    kv,
    contextTokens,
    trainedContextTokens: config.contextTokens,
    ...(regimes.length > 1 && { regimes: regimes.map((longest) => Math.min(longest, contextTokens)) }),
    weights: { format: plan.dominant, reason, bytes: plan.residentBytes },
    tokenizer: text.tokenizer !== undefined,
    chatTemplate: text.chatTemplate !== undefined,
    bosId: config.bosId,
    eosIds: endIds,
  };
}

/** Why the weights are in the format they are in, and which are not. */
function reasonOf(plan: WeightPlan, wanted: WeightFormat | "published"): string {
  if (wanted === "published") return "as published";
  return `as asked for${keptIn(plan, wanted)}`;
}
