import { faultsOf, pure } from "../fault.mjs";

export const host = [
  ...faultsOf(
    "src/engine/assembly.ts",
    ["tests/engine/packed-integers"],
    [
      ["old browsers: never refused", "if (info.packedDot) return;", "return;"],
      [
        "old browsers: int8 pages let in",
        'if (layout === undefined && kv !== "int8") return;',
        "if (layout === undefined) return;",
      ],
    ],
  ),
  ...faultsOf(
    "src/kernels/graph.ts",
    ["tests/kernels/graph"],
    [
      ["graph: a buffer freed by its last reader", "lastUse.get(o.id)! < i", "lastUse.get(o.id)! <= i"],
      ["graph: outputs not kept", "lastUse.set(tensor.id, Infinity)", "lastUse.set(tensor.id, 0)"],
    ],
  ),
  ...faultsOf(
    "src/kernels/batch.ts",
    ["tests/kernels/batch"],
    [
      ["batch: row's segment missing", "words[at + 4] = segment;", "words[at + 4] = 0;"],
      ["batch: first row of a segment", "words.set([slot, row, count,", "words.set([slot, 0, count,"],
    ],
  ),
  ...faultsOf(
    "src/models/rope.ts",
    ["tests/models/rope"],
    [["rope tables: far scaled twice", "table(NEAR, 1, () => 1)", "table(NEAR, 1, ({ scale }) => scale)", pure]],
  ),
  ...faultsOf(
    "src/base/half.ts",
    ["tests/base/half"],
    [["half: bf16 truncated", "bits + 0x7fff + ((bits >>> 16) & 1)", "bits", pure]],
  ),
];
