// `weights: "auto"`, and what keeps more bits.
import { faultsOf, pure } from "../fault.mjs";

const tests = ["tests/engine/auto-weights.test"];

export const autoWeights = [
  ...faultsOf("src/engine/auto-weights.ts", tests, [
    ["auto: what fits to the byte does not", "needed <= room.bytes", "needed < room.bytes", pure],
    ["auto: a guess refuses", 'fitting < 0 && room?.by === "memoryBytes"', "fitting < 0 && room", pure],
    ["auto: the fewest bits always", "fitting < 0 ? all.length - 1 : fitting", "all.length - 1", pure],
    ["auto: nothing to fall back on", "all.slice(first).map(", "all.slice(first, first + 1).map(", pure],
    ["auto: the cache forgotten", "bytes += pool[pages]", "bytes += 0 * pool[pages]", pure],
    ["auto: routers not told", '["routers f32"] : []', "[] : []", pure],
  ]),
  ...faultsOf("src/engine/weight-plan.ts", tests, [
    ["auto: embeddings rounded as the rest", 'wanted === "q4" ? "q8" :', 'wanted === "q4" ? "q4" :', pure],
    [
      "auto: bytes of a layout that is not taken",
      "outFeatures * rowWords(layout,",
      'outFeatures * rowWords("f32",',
      pure,
    ],
  ]),
  ...faultsOf(
    "src/engine/load.ts",
    ["tests/engine/auto-weights.node"],
    [["auto: a refusal ends the load", "if (!checkpoint.otherwise ||", "if (true ||", { match: "driver refuses" }]],
  ),
  ...faultsOf(
    "src/engine/auto-weights.ts",
    ["tests/engine/auto-weights.node"],
    [
      [
        "auto: activations forgotten",
        "return activations + logits +",
        "return 0 * (activations + logits) +",
        { match: "loads" },
      ],
    ],
  ),
];
