/** The checkpoints with golden outputs, and what every engine test has in common. */
import { loadEngine, loadRepo, type EngineTuning, type LoadOptions } from "../../src/engine/load.ts";
import type { InProcessEngine } from "../../src/engine/engine.ts";
import { openGpu } from "../../src/gpu/device.ts";
import type { Repo } from "../../src/base/bytes.ts";
import { fixtureSource, readBytes, readFixtureJson, readSharedJson, sharedSource } from "../support/fixtures.ts";

/** Every engine test lives on a shuffled page table. */
export const SHUFFLED: EngineTuning = { pageSeed: 7 };

export interface GoldenCase {
  ids: number[];
  /** Of the last row, or of every row. */
  logits: number[] | number[][];
  /** 64 ids, past end tokens. */
  greedy: number[];
}

export interface GoldenCheckpoint {
  name: string;
  source: string | null;
  /** Also to be cut into two and three shards: the checkpoints that people would publish. */
  published: boolean;
  /** Bound on the logits, absolute; golden logits are of f32 arithmetic on the same weights. */
  tolerance: number;
  read(): Promise<GoldenCase[]>;
}

interface GoldenFile {
  cases?: GoldenCase[];
  ids?: number[];
  logits?: number[][];
  greedy?: number[];
}

const casesOf = (file: GoldenFile | null): GoldenCase[] =>
  file?.cases ?? (file ? [{ ids: file.ids!, logits: file.logits!, greedy: file.greedy! }] : []);

function fixture(
  name: string,
  folder: string,
  golden: string,
  tolerance: number,
  published: boolean,
): GoldenCheckpoint {
  return {
    name,
    source: fixtureSource(folder),
    published,
    tolerance,
    read: async () => casesOf(await readFixtureJson<GoldenFile>(golden)),
  };
}

function shared(name: string, tolerance: number): GoldenCheckpoint {
  return {
    name,
    source: sharedSource(`models/${name}`),
    published: true,
    tolerance,
    read: async () => casesOf(await readSharedJson<GoldenFile>("models/stories260K/golden.json")),
  };
}

export const EMBEDDED = "demo/public/model";

export function goldenCheckpoints(): GoldenCheckpoint[] {
  const tiny = (variant: string): GoldenCheckpoint =>
    fixture(variant, `tests/fixtures/llama/${variant}`, `tests/fixtures/llama/${variant}/golden.json`, 1e-4, false);
  return [
    fixture("embedded", EMBEDDED, "tests/fixtures/embedded/golden.json", 1e-4, true),
    tiny("untied-f32"),
    tiny("bias-f16"),
    tiny("odd-bf16"),
    shared("stories260K/f32", 1e-4),
    // Its golden logits are of the f32 weights; rounding those to bf16 moves them by this much.
    shared("stories260K/bf16", 0.1),
  ];
}

let device: Promise<GPUDevice> | undefined;

/** One device for all engines of a test file: Dawn then compiles each pipeline once, which on SwiftShader is most of a load. */
function sharedDevice(): Promise<GPUDevice> {
  device ??= openGpu().then((gpu) => gpu.device);
  return device;
}

/** Another device from now on, for files whose programs are too many for one: drivers map memory for each. */
export async function renewDevice(): Promise<void> {
  const old = await device;
  device = undefined;
  old?.destroy();
}

/** Loads with f32 pages, so that what is compared is arithmetic and not rounding. */
export async function load(
  source: string,
  options: LoadOptions = {},
  tuning: EngineTuning = {},
): Promise<InProcessEngine> {
  return loadEngine(source, { device: await sharedDevice(), kv: "f32", ...options }, { ...SHUFFLED, ...tuning });
}

export async function loadFiles(
  repo: Repo,
  options: LoadOptions = {},
  tuning: EngineTuning = {},
): Promise<InProcessEngine> {
  return loadRepo(repo, { device: await sharedDevice(), kv: "f32", ...options }, { ...SHUFFLED, ...tuning });
}

/** A checkpoint's files in memory, to be cut up or broken. */
export async function filesOf(source: string): Promise<Record<string, Uint8Array>> {
  const files: Record<string, Uint8Array> = {};
  for (const name of [
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
  ]) {
    const bytes = await readBytes(`${source}/${name}`).catch(() => undefined);
    if (bytes) files[name] = bytes;
  }
  return files;
}

/** Greedy ids; the golden ones go on past an end token, ours end there. */
export async function greedy(engine: InProcessEngine, ids: number[], maxTokens = 64): Promise<number[]> {
  return (await engine.generate(ids, { temperature: 0, maxTokens }, () => undefined)).ids;
}

export function untilEnd(ids: readonly number[], endIds: readonly number[]): number[] {
  const end = ids.findIndex((id) => endIds.includes(id));
  return end < 0 ? [...ids] : ids.slice(0, end);
}
