import { anyDriver, faultsOf } from "../fault.mjs";

const tests = ["tests/kernels/latent"];
const write = { match: "latent_write" };
const attention = { match: "latent_attention" };
const layer = { match: "latent layer" };
const prompt = { match: "latent prompt" };
const room = { match: "latent_room" };

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
      "rows = { start: nope, count: valueDim",
      "rows = { start: 0, count: valueDim",
      layer,
    ],
    [
      "latent: a dispatch for the merge alone",
      "return headLinearMerged(graph, latentPartial(graph, q, cache, layer, { heads, scale }), kvB, rows);",
      "return headLinear(graph, latentAttention(graph, q, cache, layer, { heads, scale }), kvB, { heads, rows });",
      { match: "latent layer.*split" },
    ],
  ]),
  ...faultsOf("shaders/latent_room.wgsl", tests, [
    ["latent room: all for every segment", "params.entries - base)", "params.entries)", room],
    ["latent room: rows that are not of the cache yet", ".length + segment.count;", ".length;", room],
    ["latent room: slots in the order of segments", "base, segment.slot)", "base, s)", room],
    ["latent room: how many in all", "vec4u(0u, 0u, base, 0u)", "vec4u(0u)", room],
    ["latent room: whatever it costs", "select(0u, min(end, left), part || all)", "min(end, left)", room],
    ["latent room: only what fits whole", "part || all)", "all)", room],
    ["latent room: only what pays in part", "part || all)", "part)", room],
    ["latent room: what does not fit", "let all = end <= left && ", "let all = ", room],
    ["latent room: past what there is", "select(0u, min(end, left), ", "select(0u, end, ", room],
    ["latent room: first chunks absorbed", "(params.expansion + f32(end)", "(f32(end)", room],
  ]),
  ...faultsOf("shaders/latent_expand.wgsl", tests, [
    ["latent expand: entries of the first tile", "min(first + at, total - 1u)", "min(at, total - 1u)", prompt],
    ["latent expand: part that rotates", "copyTurned(lane, first, total);", "", prompt],
    ["latent expand: last columns", "k0 < RANK / 4u;", "k0 + DEEP4 < RANK / 4u;", prompt],
    ["latent expand: columns past the last", "if (k4 < RANK / 4u) {", "{", { match: "latent prompt.*72 \\+ 8" }],
    ["latent expand: rows of the matrix as they come", "(at % 4u * 16u + at / 4u)", "at", prompt],
    [
      "latent expand: first tile of results",
      "min(group.x * 64u + at, N - 1u)",
      "min(at, N - 1u)",
      { match: "heads 33" },
    ],
    ["latent expand: third of four", "(column + 32u) * STRIDE", "column * STRIDE", prompt],
    [
      "latent expand: barrier after the tile",
      "lane % DEEP4] = w;\n    workgroupBarrier();",
      "lane % DEEP4] = w;",
      { ...prompt, ...anyDriver },
    ],
    [
      "latent expand: barrier before the next tile",
      "dot(a$i, w3));\n      // end\n    }\n    workgroupBarrier();",
      "dot(a$i, w3));\n      // end\n    }",
      { match: "latent prompt.*264 \\+ 64", ...anyDriver },
    ],
    ["latent expand: results past the last", " && n4 < N / 4u", "", prompt],
    [
      "latent expand: all of the first segment",
      "while (entry >= rooms[s + 1u].z) { s++; }",
      "",
      { match: "latent prompt.*;" },
    ],
    [
      "latent expand: from the start of the sequence",
      "room.x + entry - room.z",
      "entry - room.z",
      { match: "room 64" },
    ],
    [
      "latent expand: from the first segment's",
      "room.x + entry - room.z",
      "room.x + entry",
      { match: "latent prompt.*;" },
    ],
    ["latent expand: one round of lanes", "i += 256u", "i += 1024u", { match: "264 \\+ 64" }],
    ["latent expand: turned part of the compressed", " + RANK + 4u * e", " + 4u * e", prompt],
  ]),
  ...faultsOf("shaders/fragments/tile_expanded.wgsl", tests, [
    ["latent prompt: entries that are not expanded", "room.x, room.y)", "0u, room.y)", { match: "room 64" }],
    [
      "latent prompt: all segments at the first's",
      "Place(room.z - room.x",
      "Place(0u - room.x",
      { match: "latent prompt.*;" },
    ],
    ["latent prompt: queries of the first head", "+ head * DIM4 + d]", "+ d]", prompt],
    ["latent prompt: absorbed where it turns", "+ RANK / 4u + d - NOPE4]", "+ d - NOPE4]", prompt],
    ["latent prompt: keys of the first head", "ROW4 + head * PAIR4 + d]", "ROW4 + d]", prompt],
    ["latent prompt: keys do not turn", "HEADS * PAIR4 + d - NOPE4]", "d - NOPE4]", prompt],
    ["latent prompt: values are keys", "head * PAIR4 + NOPE4 + v]", "head * PAIR4 + v]", prompt],
  ]),
  ...faultsOf("shaders/fragments/tile_latents.wgsl", tests, [
    [
      "latent prompt: expanded entries twice",
      "Place(segments[s].slot, 0u, rooms[s].x)",
      "Place(segments[s].slot, 0u, 0xffffffffu)",
      prompt,
    ],
    [
      "latent prompt: values as narrow as they are",
      "entry * HEAD_DIM + 4u * v",
      "entry * VALUE_DIM + 4u * v",
      { match: "room 64" },
    ],
  ]),
  ...faultsOf("shaders/fragments/latent_skip.wgsl", tests, [
    [
      "latent prompt: skips what is absorbed",
      "if (rooms[rows[m].segment].x > 0u) { return false; }",
      "",
      { match: "room 64" },
    ],
    [
      "latent prompt: looks at a tile's first row alone",
      "m < min(first + TILE, batch.rows); m++",
      "m < first + 1u; m++",
      { match: "room 64: 50 at 3" },
    ],
    [
      "latent prompt: the segment's number is the row's",
      "rooms[rows[m].segment].x",
      "rooms[m].x",
      { match: "latent prompt" },
    ],
  ]),
  ...faultsOf("src/kernels/latent-expand.ts", tests, [
    ["latent prompt: whatever path was asked for", " && !tuning.deterministic", "", { match: "six dispatches" }],
    ["latent prompt: never", "rows >= FEWEST_ROWS", "false", { match: "six dispatches" }],
    ["latent prompt: m and l left behind", "rest: true,", "", prompt],
    ["latent prompt: sums without their stats", "inputStep: rank + 4,", "inputStep: rank,", { match: "room 64" }],
    ["latent prompt: values from the keys' rows", "rows: { start: nope,", "rows: { start: 0,", { match: "room 64" }],
    [
      "latent prompt: the expanded alone",
      "mergeAttention(graph, [a!, b!])",
      "mergeAttention(graph, [b!])",
      { match: "room 64" },
    ],
    ["latent prompt: no tile of what rotates", "Math.ceil(width / 64) + 1", "Math.ceil(width / 64)", prompt],
  ]),
  ...faultsOf(
    "src/models/deepseek_v2.ts",
    ["tests/engine/latent.node"],
    [
      [
        "latent prompt: a model that always absorbs",
        "takesPrompts(graph) ? latentRooms",
        "false ? latentRooms",
        { match: "expands" },
      ],
    ],
  ),
];

const heads = ["tests/kernels/head-linear"];

const merged = { match: "latent layer.*split" };

export const headLinearMerged = [
  ...faultsOf("shaders/head_linear_merged.wgsl", tests, [
    ["merged heads: rows past the batch", "if (first >= batch.rows) { return; }", "", { match: "latent layer.*spare" }],
    ["merged heads: rows of the tile", "min(TILE, batch.rows - first)", "TILE", { match: "latent layer.*spare" }],
    ["merged heads: first row for all", "min(first + i / COLUMNS4,", "min(first,", merged],
    [
      "merged heads: one round of lanes",
      "i < TILE * COLUMNS4; i += 64u",
      "i < min(8u, TILE * COLUMNS4); i += 64u",
      merged,
    ],
    [
      "merged heads: barrier after the merge",
      "i % COLUMNS4);\n  }\n  workgroupBarrier();",
      "i % COLUMNS4);\n  }",
      { ...merged, ...anyDriver },
    ],
    ["merged heads: weights of the first head", "params.rowStart + head * params.rowStep;", "params.rowStart;", merged],
    ["merged heads: the keys' rows", "params.rowStart + head", "head", merged],
    ["merged heads: second 32 of the results", "group.x * RESULTS + lane", "lane", { match: "valueDim 33" }],
    ["merged heads: results past the last", "if (n + j < params.count) { ", "{ ", { match: "valueDim 33" }],
    [
      "merged heads: barrier before the sums",
      "= sum$m;\n  // end\n  workgroupBarrier();",
      "= sum$m;\n  // end",
      { ...merged, ...anyDriver },
    ],
    ["merged heads: one lane left out", "i < ALONG; i++", "i + 1u < ALONG; i++", merged],
    ["merged heads: parts over no keys", "if (own.y > 0.0) {", "{", merged],
    ["merged heads: first part left out", "var part = 0u;", "var part = 1u;", merged],
    ["merged heads: not brought to one maximum", "joined(sum, rescale(stats.x, top), ", "joined(sum, 1.0, ", merged],
    ["merged heads: part not brought to it", "x[record + k4], rescale(own.x, top)", "x[record + k4], 1.0", merged],
    ["merged heads: stats of the first head", "* heads + head) * RECORD4", "* heads) * RECORD4", merged],
    ["merged heads: not divided", "return finished(sum, stats, head);", "return sum;", merged],
  ]),
  ...faultsOf("shaders/head_linear.wgsl", tests, [
    [
      "head linear rest: first row for all",
      "let m = first + lane / 4u;",
      "let m = first;",
      { match: "room 64: 100 at 0" },
    ],
    [
      "head linear rest: of the first head",
      "head * params.xStep + params.columns) / 4u",
      "params.columns) / 4u",
      { match: "room 64: 100 at 0" },
    ],
    ["head linear rest: over the results", "+ params.count + lane % 4u", "+ lane % 4u", { match: "room 64: 100 at 0" }],
  ]),
  ...faultsOf("src/kernels/head-linear-merged.ts", tests, [
    [
      "merged heads host: a tile too many rows",
      "Math.ceil(graph.rows / tile)",
      "Math.floor(graph.rows / tile)",
      merged,
    ],
    ["merged heads host: results of one workgroup", "Math.ceil(count / 32)", "1", { match: "valueDim 33" }],
  ]),
];

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
