import { PATTERNS, type Pattern } from "../../kernels/fill.ts";
import { embed, linear, type Linear, type LinearPart } from "../../kernels/linear.ts";
import type { Range } from "../../kernels/batch.ts";
import { rowWords, type WeightLayout as CaseLayout } from "../../weights/quant/layout.ts";
import { linearsOf, type LinearShape, type ModelShape } from "../shapes.ts";
import { decoding, slice, type KernelCase } from "./case.ts";

export type { CaseLayout };

/** Random words that make sane weights of a layout. */
export const patternOf = (layout: CaseLayout): Pattern =>
  layout === "f32" || layout === "bf16" ? PATTERNS[layout] : PATTERNS.f16;

/** Largest binding that every device has; longer matrices are split by rows, as the loader does. */
const MAX_BINDING = 128 << 20;

/** A matrix over a range of the pool. Its parts are of whole `unit`s of rows. */
export function matrix(
  name: string,
  layout: CaseLayout,
  shape: Pick<LinearShape, "inFeatures" | "outFeatures">,
  weights: Range,
  unit = 16, // rows of 16 bytes and more: parts begin at multiples of 256 bytes
): Linear {
  const { inFeatures, outFeatures } = shape;
  const rowBytes = 4 * rowWords(layout, inFeatures);
  const most = Math.max(1, Math.floor(MAX_BINDING / rowBytes / unit)) * unit;
  const parts: LinearPart[] = [];
  for (let rowStart = 0; rowStart < outFeatures; rowStart += most) {
    const rowCount = Math.min(most, outFeatures - rowStart);
    parts.push({ weights: slice(weights, rowStart * rowBytes, rowCount * rowBytes), rowStart, rowCount });
  }
  return { name, inFeatures, outFeatures, layout, parts };
}

/**
 * A linear layer as a decoder block runs it, its neighbours fused in: qkv, gate_up and head normalise their input, gate_up
 * ends in SwiGLU, o and down add the residual. M rows are M sequences that decode up to 8, one prompt beyond; the head
 * takes one row of each sequence. Traffic: weights + x + gain + result + residual. Work: 2 · M · N · K.
 */
export function linearCase(model: ModelShape, shape: LinearShape, layout: CaseLayout, rows: number): KernelCase {
  const { role, inFeatures, outFeatures } = shape;
  const weightBytes = outFeatures * 4 * rowWords(layout, inFeatures);
  const normed = role === "qkv" || role === "gate_up" || role === "head";
  const added = role === "o" || role === "down";
  const swiglu = role === "gate_up";
  const width = swiglu ? outFeatures / 2 : outFeatures;
  const floats = rows * inFeatures + (normed ? inFeatures : 0) + rows * width * (added ? 2 : 1);
  return {
    name: `linear/${model.name}/${role}/${layout}/m${rows}`,
    scene: { ...(rows <= 8 ? decoding(rows, 0) : { segments: [{ rows, length: 0 }] }), sampled: role === "head" },
    setBytes: weightBytes,
    pattern: patternOf(layout),
    tableBytes: inFeatures * 4,
    bytes: weightBytes + 4 * floats,
    flops: 2 * rows * inFeatures * outFeatures,
    draw(graph, set, table) {
      const x = graph.tensor("rows", inFeatures);
      return linear(graph, x, matrix(role, layout, shape, set), {
        ...(normed && { norm: { gain: slice(table, 0, inFeatures * 4), eps: 1e-6 } }),
        ...(added && { residual: graph.tensor("rows", width) }),
        ...(swiglu && { swiglu }),
        ...(role === "head" && { gather: true }),
      });
    },
  };
}

/** Rows of the embedding for the batch's tokens. Traffic: the rows and the result. */
export function embedCase(model: ModelShape, layout: CaseLayout, rows: number): KernelCase {
  const { hidden, vocab } = model;
  const rowBytes = 4 * rowWords(layout, hidden);
  return {
    name: `embed/${model.name}/${layout}/m${rows}`,
    scene: { segments: [{ rows, length: 0 }], vocabSize: vocab },
    setBytes: vocab * rowBytes,
    pattern: patternOf(layout),
    bytes: rows * (rowBytes + 4 * hidden),
    flops: rows * hidden,
    draw: (graph, set) => embed(graph, matrix("embedding", layout, { inFeatures: hidden, outFeatures: vocab }, set)),
  };
}

export function linearCases(
  models: readonly ModelShape[],
  layouts: readonly CaseLayout[],
  rows: readonly number[],
): KernelCase[] {
  return models.flatMap((model) =>
    layouts.flatMap((layout) =>
      linearsOf(model).flatMap((shape) =>
        rows.filter((m) => m <= 8 || shape.role !== "head").map((m) => linearCase(model, shape, layout, m)),
      ),
    ),
  );
}
