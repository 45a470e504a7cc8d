import { faultsOf, pure } from "../fault.mjs";

/** @param {string} match @returns {{ match: string }} */
const gpu = (match) => ({ match });
const bases = gpu("bases");
const latent = gpu("turns queries and keys");

const rotary = faultsOf(
  "shaders/fragments/rotary.wgsl",
  ["tests/kernels/rope-write"],
  [
    [
      "regimes: the first one's near table",
      "(position & 255u) * REGIMES + regime",
      "(position & 255u) * REGIMES",
      bases,
    ],
    ["regimes: the first one's far table", "(position >> 8u) * REGIMES + regime", "(position >> 8u) * REGIMES", bases],
    ["regimes: near table as of one", "(position & 255u) * REGIMES + regime", "(position & 255u) + regime", bases],
    ["regimes: far table as of one", "(position >> 8u) * REGIMES + regime", "(position >> 8u) + regime", bases],
    ["regimes: that of the first slot for all", "states[slot].regime", "states[0].regime", bases],
  ],
);

const kernels = [
  ...faultsOf(
    "shaders/rope_write.wgsl",
    ["tests/kernels/rope-write"],
    [["regimes: rope_write does not ask", "regimeOf(row.slot)", "0u", bases]],
  ),
  ...faultsOf(
    "shaders/latent_write.wgsl",
    ["tests/engine/regimes.node"],
    [["regimes: latent_write does not ask", "regimeOf(row.slot)", "0u", latent]],
  ),
  ...faultsOf(
    "shaders/fragments/latent_turn.wgsl",
    ["tests/engine/regimes.node"],
    [["regimes: latent queries do not ask", "regimeOf(row.slot)", "0u", latent]],
  ),
  ...faultsOf(
    "src/kernels/rope.ts",
    ["tests/kernels/rope-write"],
    [["regimes: tables as of one", "REGIMES: rope?.regimes ?? 1", "REGIMES: 1", bases]],
  ),
];

const models = faultsOf(
  "src/models/rope.ts",
  ["tests/models/rope"],
  [
    [
      "regimes: two at LongRoPE's boundary",
      "contextTokens > scaling.original ? [",
      "contextTokens >= scaling.original ? [",
      pure,
    ],
    [
      "regimes: one too many of dynamic NTK",
      "length < contextTokens; lengths",
      "length <= contextTokens && length < longest; lengths",
      pure,
    ],
    ["regimes: past the end of dynamic NTK", "length = Math.min(2 * length, longest);", "length = 2 * length;", pure],
    [
      "regimes: those of the engine's context",
      "Math.max(contextTokens, Math.floor(scaling.original * scaling.factor))",
      "contextTokens",
      pure,
    ],
    [
      "regimes: of the first rotary embedding alone",
      "Math.max(contextTokens, ...lengths.map((list) => list.at(-1)!))",
      "lengths[0]?.at(-1) ?? contextTokens",
      pure,
    ],
    ["regimes: not in order", ".sort((a, b) => a - b)", "", pure],
    [
      "regimes: one scale for all tables",
      "Math.sin(angle) * factor(spec)",
      "Math.sin(angle) * factor(regimes[0]!)",
      pure,
    ],
  ],
);

const engine = [
  ...faultsOf(
    "src/engine/regimes.ts",
    ["tests/engine/regimes.test"],
    [
      ["regimes: the boundary is in the next one", "length <= longest", "length < longest", pure],
      ["regimes: the boundary comes one late", "length <= longest", "length <= longest + 1", pure],
      [
        "regimes: names without the scale",
        "Float64Array.of(dim, scale, ...inverseFrequencies)",
        "Float64Array.of(dim, scale)",
        pure,
      ],
      [
        "regimes: those of the last one for all",
        "family.ropes(config, length)",
        "family.ropes(config, contextTokens)",
        pure,
      ],
    ],
  ),
  ...faultsOf(
    "src/engine/inspect.ts",
    ["tests/engine/regimes.test"],
    [["regimes: longer than the context", "Math.min(longest, contextTokens)", "longest", pure]],
  ),
  ...faultsOf(
    "src/engine/sequence.ts",
    ["tests/engine/scheduler.property"],
    [["regimes: pages shared between them", '${regime > 0 ? `#${regime}` : ""}', "", pure]],
  ),
  ...faultsOf(
    "src/engine/step.ts",
    ["tests/engine/scheduler.property"],
    [
      [
        "regimes: nobody has told the slot",
        "const { task, regime = 0 } = group.request;",
        "const { task } = group.request;\n    const regime = 0;",
        pure,
      ],
    ],
  ),
  ...faultsOf(
    "src/engine/assembly.ts",
    ["tests/engine/regimes.node"],
    [
      [
        "regimes: all tables are the first one's",
        "specs.map((ropes) => ropes[i]!)",
        "specs.map(() => specs[0]![i]!)",
        gpu("phi3.* each boundary"),
      ],
    ],
  ),
  ...faultsOf(
    "src/engine/runner.ts",
    ["tests/engine/regimes.node"],
    [["regimes: the slot's state has none", "    state[5] = regime;\n", "", gpu("phi3.* each boundary")]],
  ),
];

const sessions = [
  ...faultsOf(
    "src/engine/session.ts",
    ["tests/engine/regimes.node"],
    [
      [
        "regimes: maxTokens not counted",
        "regimes.of(ids.length + maxTokens)",
        "regimes.of(ids.length)",
        gpu("phi3.* together"),
      ],
      [
        "regimes: one token of the answer not counted",
        "regimes.of(ids.length + maxTokens)",
        "regimes.of(ids.length + maxTokens - 1)",
        gpu("phi3.* together"),
      ],
      [
        "regimes: logits have the first",
        "        regime: this.limits.regimes.of(ids.length),\n",
        "",
        gpu("phi3.* each boundary"),
      ],
      [
        "regimes: saved for no answer",
        "regimes.of(ids.length + this.maxTokens(ids, options))",
        "regimes.of(ids.length)",
        gpu("phi3.* saved"),
      ],
    ],
  ),
  ...faultsOf(
    "src/engine/saving.ts",
    ["tests/engine/regimes.node"],
    [
      ["regimes: saved as the first", "regimes[wanted.regime]!", "regimes[0]!", gpu("phi3.* saved")],
      ["regimes: restored as the first", "salt, regime, signal };", "salt, regime: 0, signal };", gpu("phi3.* saved")],
      [
        "regimes: computed as the first to be saved",
        "      regime,\n      listener",
        "      listener",
        gpu("phi3.* saved"),
      ],
    ],
  ),
  ...faultsOf(
    "src/engine/saved.ts",
    ["tests/engine/saved.test"],
    [["regimes: a file's name is not looked up", 'regimes.indexOf(metadata["ropes"] ?? "")', "0", pure]],
  ),
];

const api = faultsOf(
  "src/api/engine.ts",
  ["tests/engine/regimes.node"],
  [
    [
      "regimes: a session's maxTokens is unknown",
      '["maxTokens", "seed", "drawn"',
      '["seed", "drawn"',
      gpu("public engine"),
    ],
  ],
);

export const regimes = [...rotary, ...kernels, ...models, ...engine, ...sessions, ...api];
