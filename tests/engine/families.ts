/** The rows of the oracle: every family and its variants, each a folder of tests/fixtures/families (tools/oracle/families.py). */
import { bf16ToNumber, f16ToNumber } from "../../src/base/half.ts";
import type { LinearSpec, TensorPlacement } from "../../src/models/family.ts";
import { findFamily } from "../../src/models/index.ts";
import { dequantiseRow, quantiseRow, type GroupedFormat } from "../../src/weights/quant/grouped.ts";
import { parseHeader, type TensorInfo } from "../../src/weights/safetensors.ts";
import { encodeSafetensors } from "../../src/weights/write.ts";
import { fixtureSource, readBytes, readFixtureJson } from "../support/fixtures.ts";

/** By family: the first row of each is its plain form, and the one that slow lanes run. */
export const DENSE_ROWS: Readonly<Record<string, readonly string[]>> = {
  gpt2: ["gpt2-f16", "gpt2"],
  gpt_neox: ["gpt_neox", "gpt_neox-sequential"],
  llama: ["llama-llama3", "llama-linear", "llama-dynamic-short", "llama-dynamic-long", "llama-yarn", "llama-mha-f32"],
  mistral: ["mistral-window", "mistral-nemo"],
  qwen2: ["qwen2", "qwen2-window"],
  qwen3: ["qwen3", "qwen3-bias-f16"],
  gemma: ["gemma"],
  gemma2: ["gemma2"],
  gemma3_text: ["gemma3_text"],
  phi: ["phi"],
  "phi-msft": ["phi-msft"],
  phi3: ["phi3", "phi3-longrope-short", "phi3-longrope-long"],
  starcoder2: ["starcoder2"],
  stablelm: ["stablelm", "stablelm-parallel"],
  olmo2: ["olmo2", "olmo2-mha"],
  granite: ["granite"],
  smollm3: ["smollm3", "smollm3-list"],
  falcon: ["falcon-7b", "falcon-40b"],
  bloom: ["bloom", "bloom-6-heads"],
  mpt: ["mpt", "mpt-6-heads"],
  cohere: ["cohere", "cohere-qk-norm"],
  gptj: ["gptj"],
  gpt_bigcode: ["gpt_bigcode", "gpt_bigcode-mha"],
  internlm: ["internlm"],
  internlm2: ["internlm2"],
  minicpm: ["minicpm", "minicpm-moe"],
  orion: ["orion"],
};

/** With experts or latent attention. */
export const SPARSE_ROWS: Readonly<Record<string, readonly string[]>> = {
  mixtral: ["mixtral", "mixtral-window"],
  qwen2_moe: ["qwen2_moe"],
  qwen3_moe: ["qwen3_moe", "qwen3_moe-dense", "qwen3_moe-256", "qwen3_moe-window"],
  olmoe: ["olmoe", "olmoe-clip"],
  granitemoe: ["granitemoe"],
  deepseek: ["deepseek"],
  deepseek_v2: ["deepseek_v2", "deepseek_v2-lite"],
  deepseek_v3: ["deepseek_v3", "deepseek_v3-halves"],
  gpt_oss: ["gpt_oss", "gpt_oss-f16"],
};

export const FAMILY_ROWS = { ...DENSE_ROWS, ...SPARSE_ROWS };

export interface FamilyGolden {
  /** What the engine is loaded for; the requests of a row are of its last rotary regime. */
  readonly contextTokens: number;
  readonly ids: number[];
  /** What follows, and the distance of the two best logits at each step. */
  readonly greedy: number[];
  readonly margins: number[];
  /** [ids, vocab] f32. */
  readonly logits: Float32Array;
}

export const rowSource = (row: string): string => fixtureSource(`tests/fixtures/families/${row}`);

export async function readGolden(row: string): Promise<FamilyGolden> {
  const folder = `tests/fixtures/families/${row}`;
  const golden = await readFixtureJson<Omit<FamilyGolden, "logits">>(`${folder}/golden.json`);
  const file = await readBytes(`${rowSource(row)}/golden.safetensors`);
  const length = Number(new DataView(file.buffer, file.byteOffset).getBigUint64(0, true));
  const { begin, end } = parseHeader("golden", file.subarray(8, 8 + length), file.length).get("logits")!;
  return { ...golden, logits: new Float32Array(file.slice(begin, end).buffer) };
}

/** The worst distance of any row of logits, as a part of that row's largest absolute logit. */
export function worstError(got: Float32Array, expected: Float32Array, vocabSize: number): number {
  let worst = 0;
  for (let row = 0; row < expected.length; row += vocabSize) {
    let [largest, distance] = [0, 0];
    for (let i = row; i < row + vocabSize; i++) {
      largest = Math.max(largest, Math.abs(expected[i]!));
      // A NaN is no distance that is small.
      const d = Math.abs(expected[i]! - got[i]!);
      distance = d <= distance ? distance : d;
    }
    const error = distance / largest;
    worst = error <= worst ? worst : error;
  }
  return got.length === expected.length ? worst : Infinity;
}

/** Values of a published tensor. */
export function valuesOf(file: Uint8Array, { dtype, begin, end }: TensorInfo): Float32Array<ArrayBuffer> {
  const bytes = file.slice(begin, end);
  if (dtype === "F32") return new Float32Array(bytes.buffer);
  return Float32Array.from(new Uint16Array(bytes.buffer), dtype === "F16" ? f16ToNumber : bf16ToNumber);
}

/** Rounds the rows that are placed, or the columns of what is published transposed, group by group along inFeatures. */
function roundMatrix(values: Float32Array, spec: LinearSpec, place: TensorPlacement, format: GroupedFormat): void {
  const k = spec.inFeatures;
  const { rows, fromRow = 0, tensorRows = rows, fromColumn = 0, tensorColumns = k, stack = 1 } = place;
  const across = tensorRows / stack; // rows of a matrix of a stack
  for (let n = fromRow; n < fromRow + rows; n++) {
    const at = (i: number): number =>
      spec.transposed ? (Math.floor(n / across) * k + i) * across + (n % across) : n * tensorColumns + fromColumn + i;
    const row = Float32Array.from({ length: k }, (_, i) => values[at(i)]!);
    dequantiseRow(format, quantiseRow(format, row), k).forEach((v, i) => (values[at(i)] = v));
  }
}

/** The checkpoint in f32, its matrices rounded on the CPU as the loader is to round them on the GPU. */
export function roundedAs(files: Record<string, Uint8Array>, format: "q8" | "q4"): Record<string, Uint8Array> {
  const { family, json } = findFamily(JSON.parse(new TextDecoder().decode(files["config.json"])));
  const file = files["model.safetensors"]!;
  const length = Number(new DataView(file.buffer, file.byteOffset).getBigUint64(0, true));
  const tensors = parseHeader("model.safetensors", file.subarray(8, 8 + length), file.length);
  const values = new Map([...tensors].map(([name, info]) => [name, valuesOf(file, info)]));
  for (const spec of family.weightTable(family.parseConfig(json)).values()) {
    if (spec.kind !== "linear" || spec.exact) continue;
    // Embeddings, positions and heads keep more bits: 8 for 4, and what was published for 8.
    const layout = spec.sensitive ? (format === "q4" ? "q8" : null) : format;
    if (!layout) continue;
    for (const place of spec.tensors) {
      const { tensor } = place;
      const name = tensors.has(tensor) ? tensor : tensor.slice(family.optionalPrefix?.length ?? 0);
      roundMatrix(values.get(name)!, spec, place, layout);
    }
  }
  const encoded = [...tensors.values()].map(({ name, shape }) => ({
    name,
    dtype: "F32" as const,
    shape,
    data: new Uint8Array(values.get(name)!.buffer),
  }));
  return { ...files, "model.safetensors": encodeSafetensors(encoded) };
}
