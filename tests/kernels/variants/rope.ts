import type { CacheFormat, CacheView, LatentView, Range } from "../../../src/kernels/batch.ts";
import type { Graph } from "../../../src/kernels/graph.ts";
import { copyPages } from "../../../src/kernels/pages.ts";
import { ropeWrite, type QueryKeyNorm, type RopeWriteOptions } from "../../../src/kernels/rope.ts";
import type { Drawing } from "./drawing.ts";

/** Key heads and query heads; the last are more than a workgroup takes at any width. */
const HEADS = [
  [1, 1],
  [2, 8],
  [1, 32],
  [8, 64],
  [3, 9],
  [1, 71],
] as const;

/** Every head width that a config may have; every third of them for the other formats. */
const HEAD_DIMS = Array.from({ length: 128 }, (_, i) => 4 * (i + 1));
const FORMATS: CacheFormat[] = ["f32", "f16", "int8"];

const view = (format: CacheFormat, heads: number, headDim: number, valueDim: number, pool: Range): CacheView => {
  const layers = [{ pool, valueOffset: 0, scaleOffset: 0 }];
  return { kind: "kv", format, pageSize: 32, heads, headDim, valueDim, layers };
};

const widths: Drawing[] = FORMATS.flatMap((format) =>
  HEAD_DIMS.filter((_, i) => format === "f32" || i % 3 === 0).map((headDim, i): Drawing => {
    const [kvHeads, heads] = HEADS[format === "f32" ? HEADS.length - 1 : i % HEADS.length]!;
    return {
      name: `rope, ${format} cache, ${heads}/${kvHeads} heads of ${headDim}`,
      draw: (graph, pool) => {
        const cache = view(format, kvHeads, headDim, headDim, pool);
        const qkv = graph.tensor("rows", (heads + 2 * kvHeads) * headDim);
        ropeWrite(graph, qkv, cache, 0, heads, { dim: headDim, near: pool, far: pool });
        copyPages(graph, cache);
      },
    };
  }),
);

/** Each option, and the norms in all their forms. */
const OPTIONS: {
  name: string;
  rotates?: false;
  regimes?: number;
  norm?: Omit<QueryKeyNorm, "query" | "key" | "eps">;
  rest?: RopeWriteOptions;
}[] = [
  { name: "interleaved", rest: { interleaved: true } },
  { name: "scaled queries", rest: { queryScale: 0.5 } },
  { name: "nothing rotates", rotates: false },
  { name: "three regimes", regimes: 3 },
  { name: "RMS of each head", norm: { kind: "rms", offset: 1 } },
  { name: "RMS of the row", norm: { kind: "rms", over: "row" } },
  { name: "LayerNorm of each head", norm: { kind: "layer", ownGains: true } },
  { name: "RMS, interleaved", norm: { kind: "rms" }, rest: { interleaved: true } },
  { name: "RMS of the row, clipped", norm: { kind: "rms", over: "row" }, rest: { clip: 0.5 } },
  { name: "RMS, nothing rotates", norm: { kind: "rms" }, rotates: false },
];

function drawOption(graph: Graph, pool: Range, format: CacheFormat, option: (typeof OPTIONS)[number]): void {
  const [heads, kvHeads, headDim, valueDim] = [6, 2, 96, 64];
  const cache = view(format, kvHeads, headDim, valueDim, pool);
  const qkv = graph.tensor("rows", (heads + kvHeads) * headDim + kvHeads * valueDim);
  const rope = option.rotates === false ? null : { dim: 32, near: pool, far: pool, regimes: option.regimes ?? 1 };
  const norm = option.norm && { ...option.norm, query: pool, key: pool, eps: 1e-6 };
  ropeWrite(graph, qkv, cache, 0, heads, rope, { ...option.rest, ...(norm && { norm }) });
}

const latents: Drawing[] = (["f32", "f16"] as const).map((format) => ({
  name: `pages of ${format} latents`,
  draw: (graph, pool) => {
    const cache: LatentView = { kind: "latent", format, pageSize: 64, rank: 512, ropeDim: 64, layers: [{ pool }] };
    copyPages(graph, cache);
  },
}));

export const drawings: Drawing[] = [
  ...widths,
  ...FORMATS.flatMap((format) =>
    OPTIONS.map((option): Drawing => ({
      name: `rope, ${format} cache, ${option.name}`,
      draw: (graph, pool) => drawOption(graph, pool, format, option),
    })),
  ),
  ...latents,
];
