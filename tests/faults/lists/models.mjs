// One or more faults for each family's file: what a slip in a config or a table would do. Its row of the oracle turns red.
import { faultsOf } from "../fault.mjs";

/** @param {string} row @returns {{ match: string }} */
const row = (row) => ({ match: `^${row} has the logits` });
const families = ["tests/engine/families"];

/** @param {string} family @param {import("../fault.mjs").Row[]} list */
const ofFamily = (family, list) => faultsOf(`src/models/${family}.ts`, families, list);

export const models = [
  ...ofFamily("llama", [
    [
      "models: llama's feed-forward without its norm",
      "i, x, norm, { residual: x, scale }",
      "i, x, undefined, { residual: x, scale }",
      row("llama-linear"),
    ],
    [
      "models: llama's heads are not scaled",
      "attention: headDim ** -0.5, residual: 1",
      "attention: 1, residual: 1",
      row("llama-linear"),
    ],
    ["models: llama's biases are forgotten", "{ qkv: out, out, mlp:", "{ qkv: false, out, mlp:", row("llama-mha-f32")],
    [
      "models: llama's gate and up exchanged",
      "inTurn(`${at}.gate_proj`, `${at}.up_proj`",
      "inTurn(`${at}.up_proj`, `${at}.gate_proj`",
      row("llama-linear"),
    ],
  ]),
  ...ofFamily("rope", [
    ["models: linear positions are multiplied", "f / scaling.factor);", "f * scaling.factor);", row("llama-linear")],
    [
      "models: dynamic NTK past the context only from twice it on",
      "Math.max(length, original)",
      "Math.max(length / 2, original)",
      row("llama-dynamic-long"),
    ],
    [
      "models: YaRN without its attention factor",
      "return spec(scaling.attentionFactor, (f, e) => f * (1",
      "return spec(1, (f, e) => f * (1",
      row("llama-yarn"),
    ],
    [
      "models: Llama 3's bounds exchanged",
      "if (turns > highFrequency) return 1;",
      "if (turns > lowFrequency) return 1;",
      row("llama-llama3"),
    ],
    [
      "models: LongRoPE's long factors at every length",
      "length > scaling.original ? scaling.long",
      "length > 0 ? scaling.long",
      row("phi3-longrope-short"),
    ],
    ["models: slopes of six heads as of eight", "below) : 2 **", "(2 * below)) : 2 **", row("bloom-6-heads")],
  ]),
  ...ofFamily("mistral", [["models: mistral sees everything", "...(window && { window })", "", row("mistral-window")]]),
  ...ofFamily("qwen2", [
    ["models: qwen2 without biases", "{ qkv: true,", "{ qkv: false,", row("qwen2")],
    ["models: qwen2's windows one layer early", "on && i >= first", "on && i + 1 >= first", row("qwen2-window")],
  ]),
  ...ofFamily("qwen3", [
    ["models: qwen3 without norms of queries and keys", 'qkNorm: "head"', 'qkNorm: "none"', row("qwen3")],
  ]),
  ...ofFamily("gemma", [
    ["models: gemma's norms without the one", "normOffset: 1", "normOffset: 0", row("gemma")],
    ["models: gemma's embeddings are not scaled", "embed: Math.sqrt(base.hiddenSize)", "embed: 1", row("gemma")],
  ]),
  ...ofFamily("gemma2", [
    ["models: gemma2 without soft-capped scores", "...(attention !== undefined && { attention }), ", "", row("gemma2")],
    [
      "models: gemma2's windows in the other layers",
      "(i + 1) % everyFull !== 0",
      "(i + 1) % everyFull === 0",
      row("gemma2"),
    ],
    [
      "models: gemma2 without the norm after attention",
      "norm(graph, mixed, after(`${i}.post_attention_norm`), { residual: x })",
      'norm(graph, mixed, { kind: "rms", eps: 1e-6 }, { residual: x })',
      row("gemma2"),
    ],
  ]),
  ...ofFamily("gemma3", [
    [
      "models: gemma3's local base in full layers",
      "a.window === undefined ? 0 : 1",
      "a.window === undefined ? 1 : 0",
      row("gemma3_text"),
    ],
  ]),
  ...ofFamily("phi3", [["models: phi3 sees everything", "...(window && { window })", "", row("phi3")]]),
  ...ofFamily("deepseek", [
    [
      "models: deepseek's shared experts left out",
      "...(mixture!.shared > 0 && shared)",
      "...(mixture!.shared > 99 && shared)",
      row("deepseek"),
    ],
    [
      "models: deepseek's scores sum to one",
      'renormalise: c.boolean("norm_topk_prob", false)',
      'renormalise: !c.boolean("norm_topk_prob", false)',
      row("deepseek"),
    ],
  ]),
  ...ofFamily("olmo2", [
    ["models: olmo2's norms of queries and keys head by head", 'qkNorm: "row"', 'qkNorm: "none"', row("olmo2")],
  ]),
  ...ofFamily("granite", [
    [
      "models: granite's residuals are not scaled",
      'residual: c.positive("residual_multiplier", 1)',
      'residual: (c.positive("residual_multiplier", 1), 1)',
      row("granite"),
    ],
    [
      "models: granite's logits are multiplied",
      '1 / c.positive("logits_scaling", 1)',
      'c.positive("logits_scaling", 1)',
      row("granite"),
    ],
  ]),
  ...ofFamily("minicpm", [
    ["models: minicpm's depth is not a root", "Math.sqrt(base.layers)", "base.layers", row("minicpm")],
  ]),
  ...ofFamily("smollm3", [
    ["models: smollm3 rotates where it should not", ".map(Boolean)", ".map((x) => !x)", row("smollm3-list")],
  ]),
  ...ofFamily("internlm", [
    ["models: internlm without biases", "{ qkv: out, out,", "{ qkv: false, out,", row("internlm")],
  ]),
  ...ofFamily("internlm2", [
    [
      "models: internlm2's w1 and w3 exchanged",
      "inTurn(`${at}.feed_forward.w1`, `${at}.feed_forward.w3`",
      "inTurn(`${at}.feed_forward.w3`, `${at}.feed_forward.w1`",
      row("internlm2"),
    ],
  ]),
  ...ofFamily("table", [
    [
      "models: fused heads with key and value exchanged",
      "part(from + group * headDim, (heads + h) * headDim, headDim)",
      "part(from + group * headDim, (heads + kvHeads + h) * headDim, headDim)",
      row("falcon-40b"),
    ],
    [
      "models: halves of a fused gate and up exchanged",
      "fromRow: half * rows",
      "fromRow: (1 - half) * rows",
      row("phi3"),
    ],
  ]),
  ...ofFamily("gpt", [
    ["models: LayerNorm without biases", "...(bias && { bias }) };", "};", row("gpt_neox")],
    ["models: parallel halves one after another", 'config.halves === "parallel" ? before : x', "x", row("gpt_neox")],
    ["models: no learned positions", "if (config.positions) x =", "if (config.positions > 999) x =", row("gpt2")],
    ["models: no norm after the embedding", "if (config.embedNorm) x =", "if (false) x =", row("bloom")],
  ]),
  ...ofFamily("gpt2", [
    ["models: gpt2's scores alike in every layer", "byLayer ? i + 1 : 1", "byLayer ? 1 : 1", row("gpt2-f16")],
    ["models: gpt2's second norm is its first", "`${at}.ln_2`", "`${at}.ln_1`", row("gpt2")],
  ]),
  ...ofFamily("gpt_bigcode", [
    ["models: gpt_bigcode's second norm is its first", "`${at}.ln_2`, true", "`${at}.ln_1`, true", row("gpt_bigcode")],
  ]),
  ...ofFamily("gpt_neox", [
    [
      "models: gpt_neox's halves always parallel",
      '? "parallel" : "sequential"',
      '? "parallel" : "parallel"',
      row("gpt_neox-sequential"),
    ],
  ]),
  ...ofFamily("gptj", [["models: gptj rotates halves", "interleaved: true", "interleaved: false", row("gptj")]]),
  ...ofFamily("phi", [
    ["models: phi's head without its bias", "headBias: true", "headBias: false", row("phi")],
    [
      "models: phi-msft's rotary part",
      'dim, scaling: { type: "default" }',
      'dim: headDim, scaling: { type: "default" }',
      row("phi-msft"),
    ],
  ]),
  ...ofFamily("starcoder2", [
    ["models: starcoder2 without biases of its feed-forward", "mlp: biased", "mlp: false", row("starcoder2")],
  ]),
  ...ofFamily("stablelm", [
    [
      "models: stablelm without biases",
      'qkv: c.boolean("use_qkv_bias", false)',
      'qkv: c.boolean("use_qkv_bias", false) && false',
      row("stablelm-parallel"),
    ],
    [
      "models: stablelm's gate and up exchanged",
      "`${at}.mlp.gate_proj`, `${at}.mlp.up_proj`",
      "`${at}.mlp.up_proj`, `${at}.mlp.gate_proj`",
      row("stablelm"),
    ],
    ["models: orion rotates half of each head", '"rms_norm_eps", {}', '"rms_norm_eps", { partial: 0.5 }', row("orion")],
  ]),
  ...ofFamily("cohere", [
    [
      "models: cohere's logits are not scaled",
      'c.positive("logit_scale", 0.0625)',
      '(c.positive("logit_scale", 0.0625), 1)',
      row("cohere"),
    ],
    ["models: cohere rotates halves", "interleaved: true", "interleaved: false", row("cohere")],
  ]),
  ...ofFamily("falcon", [
    ["models: falcon's norms exchanged", '["ln_attn", "ln_mlp"]', '["ln_mlp", "ln_attn"]', row("falcon-40b")],
    [
      "models: falcon's activation is another",
      'activation: readActivation(c, "activation", "gelu")',
      'activation: (readActivation(c, "activation", "gelu"), "relu")',
      row("falcon-7b"),
    ],
  ]),
  ...ofFamily("bloom", [
    [
      "models: bloom without slopes",
      "slopes: alibiSlopes(heads)",
      "slopes: alibiSlopes(heads).map(() => 0)",
      row("bloom"),
    ],
  ]),
  ...ofFamily("mpt", [
    [
      "models: mpt's slopes in Bloom's order",
      "[...every(1), ...every(0)]",
      "[...every(0), ...every(1)]",
      row("mpt-6-heads"),
    ],
  ]),
];

const strips = ["tests/kernels/transpose"];
export const transpose = faultsOf("shaders/transpose.wgsl", strips, [
  [
    "transpose: halves exchanged",
    "halfAt(2u * id.x, column) | (halfAt(2u * id.x + 1u, column) << 16u)",
    "halfAt(2u * id.x + 1u, column) | (halfAt(2u * id.x, column) << 16u)",
  ],
  ["transpose: the strip's place forgotten", "row * params.inFeatures + params.firstRow", "row * params.inFeatures"],
  [
    "transpose: stride of the published rows",
    "staging[id.x * params.outFeatures + column]",
    "staging[id.x * params.inFeatures + column]",
  ],
  [
    "transpose: stride of half-word rows",
    "let i = r * params.outFeatures + column;",
    "let i = r * params.inFeatures + column;",
  ],
  ["transpose: the part's first row forgotten", "let column = params.rowStart + row;", "let column = row;"],
  ["transpose: rows folded wrongly", "id.z * groups.y + id.y", "id.z + id.y"],
  ["transpose: no end of rows", "row >= params.rowCount || ", ""],
  ["transpose: no end of the strip", " || id.x * perWord >= params.rows", ""],
  ["transpose: the wrong half of a word", "16u * (i & 1u)", "16u * (1u - (i & 1u))"],
  ["transpose: two halves to a word of f32", "select(1u, 2u, HALVES)", "2u"],
]);

const positions = ["tests/kernels/embed-position"];
export const embedPosition = faultsOf("shaders/embed_position.wgsl", positions, [
  ["embed_position: the offset in the segment forgotten", " + rows[m].offset;", ";"],
  [
    "embed_position: the cache's length for the position",
    "states[rows[m].slot].position",
    "states[rows[m].slot].length",
  ],
  ["embed_position: the first slot's position for all", "states[rows[m].slot]", "states[0]"],
  ["embed_position: the part's first row forgotten", "position - params.rowStart", "position"],
  ["embed_position: every part writes", "  if (local >= params.rowCount) { return; }\n", ""],
  ["embed_position: x forgotten", "x[at] + weight4", "weight4"],
  ["embed_position: no end of rows", "m >= batch.rows || ", ""],
  ["embed_position: no end of columns", " || 4u * id.x >= params.columns", ""],
  ["embed_position: stride of the rows", "(m * params.columns) / 4u + id.x", "m * params.columns + id.x"],
]);

export const upload = [
  ...faultsOf("src/engine/upload.ts", families, [
    [
      "models: placed rows read from the tensor's beginning",
      "(row - chunkRow) * rowBytes, (row",
      "(row - fromRow) * rowBytes, (row",
      row("phi3"),
    ],
  ]),
  ...faultsOf(
    "src/engine/upload.ts",
    ["tests/engine/families-upload"],
    [
      ["models: turned parts on top of each other", "at += roundUp(size, OFFSET_BYTES);", "at += 0;"],
      ["models: repacked after the first strip", "firstRow + rows === inFeatures", "firstRow === 0"],
    ],
  ),
  ...faultsOf("src/engine/loader.ts", families, [
    [
      "models: biases of fused tensors from the beginning",
      "offset / BYTES_OF[from] - first",
      "offset / BYTES_OF[from]",
      row("gpt_neox"),
    ],
  ]),
];
