import { attention, attentionPartial, joinAttention, mergeAttention } from "../../../src/kernels/attention.ts";
import type { CacheFormat, CacheView } from "../../../src/kernels/batch.ts";
import { Graph } from "../../../src/kernels/graph.ts";
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

/** Widths of keys and values that configs have, and the ends of what they may have. */
const WIDTHS: readonly (readonly [headDim: number, valueDim: number])[] = [
  ...[8, 16, 24, 32, 40, 48, 64, 72, 80, 96, 104, 112, 120, 128, 160, 192, 200, 224, 248, 256, 320, 512].map(
    (n) => [n, n] as const,
  ),
  [192, 128],
  [8, 256],
  [256, 8],
  [72, 512],
];

/** The 4-element steps that f32 and f16 allow beside these. */
const FINE: typeof WIDTHS = [4, 12, 100, 252, 260, 508].map((n) => [n, n] as const);

interface Variant {
  format: CacheFormat;
  widths: readonly [number, number];
  heads: readonly [number, number];
  deterministic: boolean;
  split: number;
  tileRows: number;
}

const variants: Variant[] = (["f32", "f16", "int8"] as const).flatMap((format) =>
  [...WIDTHS, ...(format === "int8" ? [] : FINE)].map((widths, i): Variant => ({
    format,
    widths,
    heads: HEADS[i % HEADS.length]!,
    deterministic: i % 5 === 4,
    split: [256, 512, 64][i % 3]!,
    tileRows: i % 4 === 3 ? 16 : 32,
  })),
);

export const drawings: Drawing[] = variants.flatMap(({ format, widths, heads, deterministic, split, tileRows }, i) =>
  // Few rows and many: graphs of the test have 1 and 8 rows, and tiles begin at 9.
  [0, 8].map((more): Drawing => {
    const [headDim, valueDim] = widths;
    const [kvHeads, queries] = heads;
    return {
      name: `attention ${format}, ${queries}/${kvHeads} heads of ${headDim} and ${valueDim}`,
      draw: (given, pool) => {
        const attentionTile = { rows: tileRows, split };
        const tuning = { ...given.tuning, deterministic, attention: attentionTile };
        const graph = new Graph(given.pipelines, given.batch, given.rows + more, given.samples, tuning);
        const layers = [{ pool, valueOffset: 0, scaleOffset: 0 }];
        const cache: CacheView = { kind: "kv", format, pageSize: 32, heads: kvHeads, headDim, valueDim, layers };
        const q = graph.tensor("rows", queries * headDim);
        attention(graph, q, cache, 0, { scale: 1 });
        if (i % 4 === 0) attention(graph, q, cache, 0, { scale: 1, window: 9, sinks: pool });
        if (i % 4 === 1) attention(graph, q, cache, 0, { scale: 1, softcap: 30, sinks: pool, slopes: pool });
        if (i % 4 === 2) {
          const parts = [1, 2, 3].map(() => attentionPartial(graph, q, cache, 0, { scale: 1, slopes: pool }));
          mergeAttention(graph, parts, { sinks: pool });
          mergeAttention(graph, [joinAttention(graph, parts[0]!, parts[1]!)]);
        }
        given.ops.push(...graph.ops);
      },
    };
  }),
);
