// Families with experts and with latent attention: what a slip in a config, a table or the loader would do.
import { faultsOf, pure } from "../fault.mjs";

/** @param {string} row @returns {{ match: string }} */
const row = (row) => ({ match: `^${row} has the logits of transformers` });
const families = ["tests/engine/families"];

/** @param {string} file @param {import("../fault.mjs").Row[]} list */
const of = (file, list) => faultsOf(`src/${file}.ts`, families, list);

export const mixtureConfigs = [
  ...faultsOf(
    "src/models/qwen3_moe.ts",
    ["tests/models/mixtures"],
    [
      ["qwen3_moe: no window", "...(window !== undefined && { window })", "...{}", pure],
      [
        "qwen3_moe: windows in some layers",
        'c.only("max_window_layers", [0], "this family has its window in every layer");',
        "",
        pure,
      ],
    ],
  ),
  ...faultsOf(
    "src/models/olmoe.ts",
    ["tests/models/mixtures"],
    [["olmoe: nothing is cut", '...(!c.absent("clip_qkv") && { clip: c.positive("clip_qkv") }),', "", pure]],
  ),
  ...of("models/llama", [
    [
      "olmoe: cut in the config alone",
      "...(config.clip !== undefined && { clip: config.clip }),",
      "",
      row("olmoe-clip"),
    ],
  ]),
  ...of("models/qwen3_moe", [
    ["qwen3_moe: all is seen", 'return c.integer("sliding_window");', "return 128;", row("qwen3_moe-window")],
  ]),
  ...faultsOf(
    "src/worker/client.ts",
    ["tests/worker/routing"],
    [
      [
        "worker: nobody asks for the counts of experts",
        'this.connection.call({ type: "routing" })',
        "Promise.resolve([])",
      ],
    ],
  ),
  ...faultsOf(
    "src/worker/host.ts",
    ["tests/worker/routing"],
    [["worker: the counts of experts stay there", "return engine.routing();", "return [];"]],
  ),
];

export const mixtures = [
  ...of("models/mixture", [
    [
      "mixture: gate and up exchanged",
      "inTurn(gateName, upName, width)",
      "inTurn(upName, gateName, width)",
      row("mixtral"),
    ],
    [
      "mixture: experts in the next one's place",
      "e * 2 * width)",
      "((e + 1) % m.experts) * 2 * width)",
      row("mixtral"),
    ],
    ["mixture: weights not renormalised", "...(renormalise && { renormalise }),", "", row("qwen3_moe")],
    ["mixture: weights not scaled", "...(scale !== undefined && { scale }),", "", row("granitemoe")],
    ["mixture: groups forgotten", "...(groups && { groups }),", "", row("deepseek_v2")],
    [
      "mixture: bias of the choice forgotten",
      "m.selectionBias && { bias",
      "!m.selectionBias && { bias",
      row("deepseek_v3"),
    ],
    ["mixture: shared experts without their gate", "...(sharedGate && { gate: m.experts })", "", row("qwen2_moe")],
    ["mixture: columns of the first shared expert", "fromColumn: s * width", "fromColumn: 0", row("deepseek_v2")],
    [
      "mixture: no norm before the router",
      "weights.linear(`${i}.router`), { norm });",
      "weights.linear(`${i}.router`));",
      row("olmoe"),
    ],
  ]),
  ...of("models/mixtral", [
    [
      "mixtral: w1 and w3 exchanged",
      "`${at}.experts.${e}.w1`, `${at}.experts.${e}.w3`",
      "`${at}.experts.${e}.w3`, `${at}.experts.${e}.w1`",
      row("mixtral"),
    ],
    ["mixtral: no window", "...(window && { window })", "", row("mixtral-window")],
  ]),
  ...of("models/qwen2_moe", [
    [
      "qwen2_moe: renormalised the other way round",
      'renormalise: c.boolean("norm_topk_prob", false)',
      'renormalise: !c.boolean("norm_topk_prob", false)',
      row("qwen2_moe"),
    ],
    ["qwen2_moe: layers listed as dense have experts", "!dense.includes(i) && ", "", row("qwen3_moe-256")],
    ["qwen2_moe: the first of two layers is sparse", "(i + 1) % step", "i % step", row("qwen3_moe-dense")],
  ]),
  ...of("models/qwen3_moe", [
    ["qwen3_moe: no norm of queries and keys", 'qkNorm: "head"', 'qkNorm: "none"', row("qwen3_moe")],
  ]),
  ...of("models/olmoe", [
    ["olmoe: norms of each head", "renormalise: c.boolean", "renormalise: !c.boolean", row("olmoe")],
  ]),
  ...of("models/granitemoe", [
    [
      "granitemoe: gates and ups of a stack exchanged",
      "(2 * e + h) * width",
      "(2 * e + 1 - h) * width",
      row("granitemoe"),
    ],
    ["granitemoe: experts not scaled", "scale: base.scales.residual", "scale: 1", row("granitemoe")],
  ]),
  ...of("models/minicpm", [["minicpm: experts not scaled", "scale: residual }", "scale: 1 }", row("minicpm-moe")]]),
  ...of("models/gpt_oss", [
    [
      "gpt_oss: a limit of 7 whatever is asked for",
      'c.positive("swiglu_limit", 7)',
      'c.positive("swiglu_limit", 7) && 7',
      row("gpt_oss"),
    ],
    ["gpt_oss: a plain SwiGLU", 'gate: "swiglu-clamped"', 'gate: "silu"', row("gpt_oss")],
    ["gpt_oss: no windows", "...(sliding[i] && { window })", "", row("gpt_oss")],
  ]),
  ...of("models/llama", [
    ["gpt_oss: no sinks", "...(config.sinks && { sinks", "...(!config.sinks && { sinks", row("gpt_oss")],
  ]),
  ...of("models/deepseek_v2", [
    ["deepseek: scores without YaRN's factor", " * yarnMscale(rope) ** 2", "", row("deepseek_v2")],
    ["deepseek: YaRN's factor on one side only", "yarnMscale(rope) ** 2", "yarnMscale(rope)", row("deepseek_v2")],
    ["deepseek_v2: rotates halves", "interleaved: true", "interleaved: false", row("deepseek_v2")],
    ["deepseek_v2: no groups", "...(grouped && groups),", "", row("deepseek_v2")],
    ["deepseek_v2: weights renormalised", "renormalise: false,", "renormalise: true,", row("deepseek_v2-lite")],
    [
      "deepseek: the latent from the first column",
      "const column = queryRank ?? heads * (nope + ropeDim);",
      "const column = 0;",
      row("deepseek_v2-lite"),
    ],
    [
      "deepseek: compressed queries without their norm",
      "{ norm: queryNorm(), leading: true }",
      "{ leading: true }",
      row("deepseek_v3"),
    ],
    ["deepseek: one layer more is dense", "i >= first)", "i > first)", row("deepseek")],
    ["deepseek: biases forgotten", 'biased && !module.endsWith(".q_proj")', 'module === ""', row("deepseek_v2-lite")],
  ]),
  ...of("models/deepseek_v3", [
    ["deepseek_v3: softmax scores", 'score: "sigmoid"', 'score: "softmax"', row("deepseek_v3")],
    ["deepseek_v3: groups by their best", '"best two"', '"best"', row("deepseek_v3")],
    [
      "deepseek_v3: always interleaved",
      'c.boolean("rope_interleave", true)',
      'c.boolean("rope_interleave", true) || true',
      row("deepseek_v3-halves"),
    ],
  ]),
  ...of("engine/upload", [
    [
      "upload: stacked matrices all in the first one's place",
      "const row = index * rowCount;",
      "const row = 0 * index;",
      row("gpt_oss"),
    ],
    [
      "upload: matrices of a stack begin where the first does",
      "row % inFeatures]",
      "row % (2 * inFeatures)]",
      row("gpt_oss"),
    ],
    [
      "upload: the first columns of a row",
      "rows.subarray(i * rowBytes + from, i * rowBytes + from + wanted)",
      "rows.subarray(i * rowBytes, i * rowBytes + wanted)",
      row("deepseek_v2"),
    ],
  ]),
  ...of("engine/weight-plan", [
    [
      "weights: parts cut experts",
      "Math.min(spec.unit ?? 2, spec.outFeatures)",
      "Math.min(2, spec.outFeatures)",
      { match: "^mixtral, whatever the knobs" },
    ],
    ["weights: routers are rounded", 'if (spec.exact) return "f32";\n', "", { match: "^mixtral as" }],
  ]),
  ...faultsOf(
    "src/models/predictors.ts",
    ["tests/models/predictors"],
    [
      ["predictors: norms of embedding and state exchanged", "`${at}.enorm`", "`${at}.hnorm`", pure],
      ["predictors: the model's norm at the end", "`${at}.shared_head.norm`", "`${at}.input_layernorm`", pure],
    ],
  ),
  ...faultsOf(
    "src/engine/weight-plan.ts",
    ["tests/engine/weight-plan"],
    [
      ["weights: what is optional is never loaded", "return names.some(has) ? table", "return false ? table", pure],
      ["weights: what is optional has to be there", "return names.some(has) ? table", "return true ? table", pure],
    ],
  ),
  ...faultsOf(
    "src/engine/routing.ts",
    ["tests/engine/routing.node"],
    [
      ["routing: all layers in one count", "counts: counts(at) }", "counts: counts(0) }", { match: "deepseek_v3" }],
      [
        "routing: two reads at a time",
        "this.pending ??= this.fetch()",
        "this.pending = this.fetch()",
        { match: "deepseek_v3" },
      ],
    ],
  ),
];
