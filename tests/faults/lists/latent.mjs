import { anyDriver, faultsOf } from "../fault.mjs";

const tests = ["tests/kernels/latent"];
const write = { match: "latent_write" };
const attention = { match: "latent_attention" };
const layer = { match: "latent layer" };

export const latent = [
  ...faultsOf("shaders/latent_write.wgsl", tests, [
    ["latent write: from the first column", " + params.column;", ";", write],
    ["latent write: rows as narrow as a latent", "m * params.width", "m * DIM", write],
    ["latent write: rows past the batch", "if (m >= batch.rows) { return; }", "", write],
    ["latent write: eps dropped", " + params.eps", "", write],
    ["latent write: gain dropped", "v *= factor * gain[i];", "v *= factor;", write],
    ["latent write: not normalised", "v *= factor * gain[i];", "v *= gain[i];", write],
    [
      "latent write: norm over the rotated part too",
      "i < params.rank4; i += LANES",
      "i < params.rank4 + ROPE / 4u; i += LANES",
      write,
    ],
    ["latent write: one round of lanes", "i < params.rank4 + ROPE / 4u; i += LANES", "i < LANES; i += LANES", write],
    [
      "latent write: angles from the start of the latent",
      "let e = 4u * i - RANK;",
      "let e = 4u * i % (ROPE - 4u);",
      write,
    ],
    ["latent write: partners in the compressed part", "let start = source + RANK;", "let start = source;", write],
    [
      "latent write: position is the length",
      "states[row.slot].position + row.offset",
      "states[row.slot].length + row.offset",
      write,
    ],
    [
      "latent write: index without the row's offset",
      "states[row.slot].length + row.offset",
      "states[row.slot].length",
      write,
    ],
  ]),
  ...faultsOf("shaders/fragments/latent_page.wgsl", tests, [
    [
      "latent page: stride of the compressed part",
      "entryOf(page, index, 0u) * DIM",
      "entryOf(page, index, 0u) * RANK",
      write,
    ],
    ["latent page: two heads", "KV_HEADS: u32 = 1u", "KV_HEADS: u32 = 2u", write],
  ]),
  ...faultsOf("shaders/fragments/latent_turn.wgsl", tests, [
    ["latent query: rows past the batch", "if (m >= batch.rows) { return; }", "", layer],
    ["latent query: one round of lanes", "i += 64u", "i += 128u", layer],
    ["latent query: the part that does not rotate", " + params.count;", ";", layer],
    ["latent query: over the absorbed part", " + params.columns + e", " + e", layer],
    ["latent query: queries of the first head", " + head * params.xStep", "", layer],
    [
      "latent query: position without the row's offset",
      "states[row.slot].position + row.offset",
      "states[row.slot].position",
      layer,
    ],
  ]),
  ...faultsOf("shaders/latent_attention.wgsl", tests, [
    ["latent: rows past the batch", "if (m >= batch.rows) { return; }", "", attention],
    ["latent: sees one row ahead", "length + row.offset + 1u", "length + row.offset + 2u", attention],
    ["latent: does not see itself", "length + row.offset + 1u", "length + row.offset", attention],
    ["latent: splits overlap", "(group.z + 1u) * params.split", "(group.z + 2u) * params.split", { match: "split 16" }],
    [
      "latent: every split begins at zero",
      "var first = group.z * params.split",
      "var first = 0u",
      { match: "split 16" },
    ],
    [
      "latent: first slice of the query for all",
      "(m * HEADS + firstHead) * DIM4 + slice, DIM4",
      "(m * HEADS + firstHead) * DIM4, DIM4",
      { match: "72 \\+ 8|64 \\+ 8" },
    ],
    [
      "latent: first slice of the latents for all",
      "loadLatent(lane, tile + slice, DIM4",
      "loadLatent(lane, tile, DIM4",
      { match: "72 \\+ 8|64 \\+ 8" },
    ],
    [
      "latent: barrier after the slices are loaded",
      "DIM4 - slice, keys);\n      workgroupBarrier();",
      "DIM4 - slice, keys);",
      { ...attention, ...anyDriver },
    ],
    [
      "latent: barrier before the next slice",
      "latent[t * STRIDE + d]); }\n      workgroupBarrier();",
      "latent[t * STRIDE + d]); }",
      { match: "72 \\+ 8|512 \\+ 64", ...anyDriver },
    ],
    [
      "latent: barrier after the scores",
      "weight[lane] = s;\n    workgroupBarrier();",
      "weight[lane] = s;",
      { ...attention, ...anyDriver },
    ],
    [
      "latent: barrier before the weights",
      "weight[h * KEYS + i]); }\n    workgroupBarrier();",
      "weight[h * KEYS + i]); }",
      { ...attention, ...anyDriver },
    ],
    [
      "latent: barrier after the weights",
      "s <= LOWEST);\n    workgroupBarrier();",
      "s <= LOWEST);",
      { ...attention, ...anyDriver },
    ],
    [
      "latent: barrier after the latents to mix",
      "RANK4 - slice, keys);\n  workgroupBarrier();",
      "RANK4 - slice, keys);",
      { ...attention, ...anyDriver },
    ],
    ["latent: keys past the end", "t >= keys || ", "", attention],
    ["latent: ancestors ignored", " || !visible(first + t, length, row.ancestors)", "", { match: "tree" }],
    ["latent: ancestors past the 32nd", "bit >= 32u || ", "", { match: "tree" }],
    ["latent: hidden keys weigh", "select(exp(s - highest), 0.0, s <= LOWEST)", "exp(s - highest)", { match: "tree" }],
    ["latent: maximum forgotten", "top = highest;", "", attention],
    ["latent: sum not shrunk", "total *= shrink;", "", attention],
    ["latent: result not shrunk", "sum$s = sum$s * shrink +", "sum$s = sum$s +", attention],
    ["latent: scale dropped", " * params.scale", "", attention],
    ["latent: heads past the last written", "if (head >= HEADS) { return; }", "", { match: "heads (17|33)" }],
    [
      "latent: second chunk of heads is the first",
      "let firstHead = group.x * GROUP;",
      "let firstHead = 0u;",
      { match: "heads (17|33)" },
    ],
    ["latent: nothing seen is 0 / 0", "max(total, 1e-30)", "total", { match: "tree" }],
    ["latent: columns past the rank", "if (column < RANK4) ", "", attention],
    ["latent: stats over the sum", "out[record + RANK4] =", "out[record] =", { match: "split 16" }],
  ]),
  ...faultsOf("src/kernels/latent.ts", tests, [
    ["latent: split where no company may change bits", "graph.tuning.deterministic || ", "", attention],
    ["latent: slices of the rank cut", "Math.ceil(rank / 64)", "Math.floor(rank / 64)", { match: "72 \\+ 8" }],
    [
      "latent: values are the keys' rows",
      "rows: { start: nope, count: valueDim",
      "rows: { start: 0, count: valueDim",
      layer,
    ],
  ]),
];

const heads = ["tests/kernels/head-linear"];

export const headLinear = [
  ...faultsOf("shaders/head_linear.wgsl", heads, [
    ["head linear: rows past the batch", "min(TILE, batch.rows - first)", "TILE", { match: "spare" }],
    ["head linear: tiles past the batch", "if (first >= batch.rows) { return; }", "", { match: "spare 9" }],
    ["head linear: weights of the first head", "head * params.rowStep + ", "", { match: "heads" }],
    ["head linear: first row ignored", "params.rowStart + head", "head", { match: "start" }],
    ["head linear: x of the first head", "head * params.xStep / 4u", "0u"],
    ["head linear: results written past the head", "if (n < params.count) ", "", { match: "count (7|9|17)" }],
    ["head linear: result of the first head", "+ head * params.outStep + n", "+ n"],
    ["head linear: barrier", "sum$m;\n  // end\n  workgroupBarrier();", "sum$m;\n  // end", anyDriver],
    ["head linear: last columns", "k4 < params.columns / 4u; k4", "k4 + 1u < params.columns / 4u; k4"],
    ["head linear: stride along K", "k4 += ALONG", "k4 += 2u * ALONG", { match: "columns (64|512)" }],
    ["head linear: one lane left out", "i < ALONG; i++", "i + 1u < ALONG; i++"],
  ]),
  ...faultsOf("shaders/head_linear_transposed.wgsl", heads, [
    [
      "head linear, by columns: rows past the batch",
      "min(TILE, batch.rows - first)",
      "TILE",
      { match: "transposed.*spare" },
    ],
    ["head linear, by columns: weights of the first head", " + head * params.rowStep;", ";", { match: "transposed" }],
    ["head linear, by columns: x of the first head", "head * params.xStep;", "0u;", { match: "transposed" }],
    ["head linear, by columns: columns past the last", "if (n4 < params.columns / 4u) ", "", { match: "transposed" }],
    [
      "head linear, by columns: barrier",
      "sum$m;\n  // end\n  workgroupBarrier();",
      "sum$m;\n  // end",
      { match: "transposed", ...anyDriver },
    ],
    [
      "head linear, by columns: rows of the next head",
      "k < params.count; k += ALONG",
      "k < params.count + 1u; k += ALONG",
      { match: "transposed" },
    ],
    ["head linear, by columns: stride along K", "k += ALONG", "k += 2u * ALONG", { match: "transposed" }],
    ["head linear, by columns: one part left out", "i < ALONG; i++", "i + 1u < ALONG; i++", { match: "transposed" }],
    ["head linear, by columns: rows of the tile", "m += ALONG", "m += 2u * ALONG", { match: "transposed.*rows" }],
  ]),
];
