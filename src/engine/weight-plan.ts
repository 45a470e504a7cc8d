import { roundUp } from "../base/assert.ts";
import { WeightsError } from "../base/errors.ts";
import { publishedBiasShape, publishedShape, type LinearSpec, type WeightTable } from "../models/family.ts";
import type { Checkpoint, CheckpointTensor } from "../weights/checkpoint.ts";
import type { DenseFormat } from "../weights/quant/dense.ts";
import { rowWords, type WeightLayout } from "../weights/quant/layout.ts";

/** The published dtypes that are read as weights. */
export const FORMAT_OF: Readonly<Record<string, DenseFormat>> = { F32: "f32", F16: "f16", BF16: "bf16" };
export const BYTES_OF: Readonly<Record<DenseFormat, number>> = { f32: 4, f16: 2, bf16: 2 };

/** The checkpoint's tensors matched with the family's table, before anything is allocated. */
export interface WeightPlan {
  readonly table: WeightTable;
  readonly checkpoint: Checkpoint;
  /** Resident layout of each linear role. */
  readonly layouts: ReadonlyMap<string, WeightLayout>;
  /** The layout that most weights have. */
  readonly dominant: WeightLayout;
  /** GPU bytes that WeightStore will take: matrices in their layouts, vectors in f32 at multiples of 256 bytes. */
  readonly residentBytes: number;
  readonly parameters: number;
  /** Bytes that will be read. */
  readonly bytes: number;
  /** The checkpoint's tensor of a name in the table. */
  tensor(name: string): CheckpointTensor;
  /** The same in other layouts. */
  as(wanted: WeightLayout | "published"): WeightPlan;
}

/**
 * Checks that every tensor of the table is there, in the right shape and a dtype that is read; throws WeightsError. Names may
 * be without `optionalPrefix`: some checkpoints were saved from the model inside.
 */
export function planWeights(
  table: WeightTable,
  checkpoint: Checkpoint,
  wanted: WeightLayout | "published",
  optionalPrefix = "",
): WeightPlan {
  const find = (name: string): CheckpointTensor | undefined =>
    checkpoint.tensors.get(name) ??
    (name.startsWith(optionalPrefix) ? checkpoint.tensors.get(name.slice(optionalPrefix.length)) : undefined);
  const published = new Map<string, DenseFormat>();
  const counted = new Map<string, { parameters: number; bytes: number }>();
  const check = (name: string, shape: readonly number[]): DenseFormat => {
    const tensor = find(name);
    if (!tensor) throw new WeightsError(name, "is not in the checkpoint, though its config.json calls for it.");
    if (tensor.shape.length !== shape.length || tensor.shape.some((n, i) => n !== shape[i])) {
      throw new WeightsError(
        name,
        `has the shape [${tensor.shape.join(", ")}]; config.json says [${shape.join(", ")}].`,
      );
    }
    const format = FORMAT_OF[tensor.dtype];
    if (!format) throw new WeightsError(name, `is ${tensor.dtype}; weights are read as F32, F16 or BF16.`);
    counted.set(name, { parameters: shape.reduce((a, b) => a * b, 1), bytes: tensor.end - tensor.begin });
    return format;
  };
  const wantedTable = withoutAbsent(table, (name) => find(name) !== undefined);
  for (const [role, spec] of wantedTable) {
    if (spec.kind === "vector") {
      if (spec.tensor !== undefined) check(spec.tensor, spec.shape ?? [spec.width]);
      continue;
    }
    const found = spec.tensors.map((t) => check(t.tensor, publishedShape(spec, t)));
    for (const t of spec.bias ?? []) check(t.tensor, publishedBiasShape(t));
    // Tensors of one matrix may differ in dtype; f32 holds them all exactly.
    published.set(role, found.every((f) => f === found[0]) ? found[0]! : "f32");
  }
  const sums = [...counted.values()];
  const total = (key: "parameters" | "bytes"): number => sums.reduce((n, s) => n + s[key], 0);
  const as = (layout: WeightLayout | "published"): WeightPlan => ({
    table: wantedTable,
    checkpoint,
    ...laidOut(wantedTable, published, layout),
    parameters: total("parameters"),
    bytes: total("bytes"),
    tensor: (name) => find(name)!,
    as,
  });
  return as(wanted);
}

/** Each matrix in its layout, and what all of it takes. */
function laidOut(
  table: WeightTable,
  published: ReadonlyMap<string, DenseFormat>,
  wanted: WeightLayout | "published",
): Pick<WeightPlan, "layouts" | "dominant" | "residentBytes"> {
  const layouts = new Map<string, WeightLayout>();
  const elements = new Map<WeightLayout, number>();
  const vectorBytes = (width: number): number => roundUp(width, 64) * 4;
  let residentBytes = 0;
  for (const [role, spec] of table) {
    if (spec.kind === "vector") {
      residentBytes += vectorBytes(spec.width);
      continue;
    }
    const { outFeatures, inFeatures } = spec;
    const layout = residentLayout(spec, published.get(role)!, wanted);
    layouts.set(role, layout);
    elements.set(layout, (elements.get(layout) ?? 0) + inFeatures * outFeatures);
    residentBytes += outFeatures * rowWords(layout, inFeatures) * 4 + (spec.bias ? vectorBytes(outFeatures) : 0);
  }
  const [dominant] = [...elements].reduce((a, b) => (b[1] > a[1] ? b : a));
  return { layouts, dominant, residentBytes };
}

/** The table without what is optional, where the checkpoint has none of it. One tensor of it calls for all. */
function withoutAbsent(table: WeightTable, has: (name: string) => boolean): WeightTable {
  const optional = [...table].filter(([, spec]) => spec.optional);
  const names = optional.flatMap(([, spec]) =>
    spec.kind === "linear" ? spec.tensors.map((t) => t.tensor) : (spec.tensor ?? []),
  );
  return names.some(has) ? table : new Map([...table].filter(([, spec]) => !spec.optional));
}

/** Embeddings and heads keep more bits than was asked for: they are the first to hurt. */
function residentLayout(spec: LinearSpec, published: DenseFormat, wanted: WeightLayout | "published"): WeightLayout {
  if (spec.exact) return "f32";
  if (wanted === "published") return published;
  if (!spec.sensitive) return wanted;
  return wanted === "q4" ? "q8" : wanted === "q8" ? published : wanted;
}

/** Rows of each part, so that none is larger than a binding. */
export function splitRows(
  spec: LinearSpec,
  layout: WeightLayout,
  maxBinding: number,
): { rowStart: number; rowCount: number }[] {
  const rowBytes = rowWords(layout, spec.inFeatures) * 4;
  const unit = Math.min(spec.unit ?? 2, spec.outFeatures);
  const most = Math.floor(maxBinding / rowBytes / unit) * unit;
  if (most < 1) {
    const what = unit > 2 ? `${unit} rows that stay together, of ${rowBytes} bytes each` : `rows of ${rowBytes} bytes`;
    throw new WeightsError(spec.tensors[0]!.tensor, `has ${what}: past one GPU binding of ${maxBinding} bytes.`);
  }
  const parts: { rowStart: number; rowCount: number }[] = [];
  for (let rowStart = 0; rowStart < spec.outFeatures; rowStart += most) {
    parts.push({ rowStart, rowCount: Math.min(most, spec.outFeatures - rowStart) });
  }
  return parts;
}
