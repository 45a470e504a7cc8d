import { anyDriver, faultsOf, pure } from "../fault.mjs";

const tests = ["tests/kernels/attention"];
/** Names of cases that tell, so that not all have to run. */
const DECODE = { match: "1 after 129, 3 pages|1 after 128 \\+" };
const TILE = { match: "15 after 31|64 after 20|33 after 63" };
const SERIAL = { match: "one after another|deterministic" };
const PARTIAL = { match: "unfinished" };
const TREE = { match: "tree" };
const EMPTY = { match: "sees nothing" };

export const attentionSplit = faultsOf("shaders/attention_split.wgsl", tests, [
  [
    "attention split: barrier after the queries",
    "  workgroupBarrier();\n  scoreKeys",
    "  scoreKeys",
    { ...anyDriver, ...DECODE },
  ],
  [
    "attention split: barrier after the scores",
    "  workgroupBarrier();\n  softmaxKeys",
    "  softmaxKeys",
    { ...anyDriver, match: "10⁴" },
  ],
  ["attention split: scale dropped", " * params.scale", "", DECODE],
  ["attention split: sees one row ahead", "own + 1u, params.causal", "own + 2u, params.causal", DECODE],
  ["attention split: does not see itself", "own + 1u, params.causal", "own, params.causal", DECODE],
  [
    "attention split: encoder ends at its own row",
    "start + segments[row.segment].count",
    "own + 1u",
    { match: "not causal" },
  ],
  [
    "attention split: window one longer",
    "min(own + 1u, params.window)",
    "min(own, params.window)",
    { match: "window" },
  ],
  ["attention split: second split is the first", "(firstSplit + group.z) * SPLIT", "firstSplit * SPLIT", DECODE],
  [
    "attention split: past the end is not empty",
    "vec4f(LOWEST, 0.0, 0.0, 0.0)",
    "vec4f(LOWEST, 1.0, 0.0, 0.0)",
    DECODE,
  ],
  [
    "attention split: last key of a split",
    "min(token.end, split + SPLIT) - first",
    "min(token.end, split + SPLIT) - first - 1u",
    DECODE,
  ],
  [
    "attention split: page of the first key for all",
    "(index - split) >> PAGE_SHIFT];\n    let entry = entryOf(page.page",
    "0u];\n    let entry = entryOf(page.page",
    DECODE,
  ],
  ["attention split: keys' scales dropped", "capped(low * scales.x)", "capped(low)", { match: "int8" }],
  ["attention split: values' scales dropped", "p *= valueScales[i];", "", { match: "int8" }],
  [
    "attention split: values' scale in the sum",
    "    total += p;\n    if (SCALED) { p *= valueScales[i]; }",
    "    if (SCALED) { p *= valueScales[i]; }\n    total += p;",
    { match: "int8" },
  ],
  ["attention split: cap dropped", "capped(low * scales.x)", "low * scales.x", { match: "cap" }],
  ["attention split: slopes dropped", " - slopesLow * away", "", { match: "ALiBi" }],
  [
    "attention split: slopes of the neighbour",
    "slopesOf(token.firstHead);",
    "slopesOf(token.firstHead + 1u);",
    { match: "ALiBi" },
  ],
  ["attention split: ancestors of nobody", "vec4u(token.ancestors)", "vec4u(0xffffffffu)", TREE],
  ["attention split: fifth head of a group", "dots(4u * DIM4 + d, key", "dots(d, key", { match: "16/2 heads of 80" }],
  [
    "attention split: key head of the query head",
    "let kvHead = group.x / chunks;",
    "let kvHead = group.x % KV_HEADS;",
    { match: "26/2 heads" },
  ],
  [
    "attention split: heads of the neighbour",
    "min(GROUP, (kvHead + 1u) * perGroup - firstHead)",
    "GROUP",
    { match: "26/2 heads|8/1 heads" },
  ],
  ["attention split: hidden keys weigh", "select(exp(s - top), vec4f(0.0), s <= vec4f(LOWEST))", "exp(s - top)", EMPTY],
  ["attention split: values read from the keys", "params.valueOffset + entry * VALUE_DIM", "entry * VALUE_DIM", DECODE],
  [
    "attention split: values as wide as keys",
    "entry * VALUE_DIM",
    "entry * HEAD_DIM",
    { match: "192 and 128|40 and 24" },
  ],
  ["attention split: streams overwrite each other", "select(vectors[at] + sum, sum, fresh)", "sum", DECODE],
  [
    "attention split: barrier between streams",
    "    }\n    workgroupBarrier();\n  }\n}\n\nfn weighed",
    "    }\n  }\n}\n\nfn weighed",
    { ...anyDriver, ...DECODE },
  ],
  [
    "attention split: joined in turn, not rescaled",
    "joined(out[sumAt(token, i)], rescale(old, top)",
    "joined(out[sumAt(token, i)], 1.0",
    SERIAL,
  ],
  [
    "attention split: sum so far not kept",
    "  if (lane < token.heads) { kept[lane] = stats[lane]; }",
    "  if (lane < token.heads && isFirst) { kept[lane] = stats[lane]; }",
    SERIAL,
  ],
  ["attention split: partial result divided", "sum, EMIT);", "sum, false);", PARTIAL],
  ["attention split: rows past the batch written", "if (group.y >= batch.rows) { return; }", "", { match: "spare" }],
]);

export const attentionTile = faultsOf("shaders/attention_tile.wgsl", tests, [
  [
    "attention tile: barrier after the keys",
    "    workgroupBarrier();\n    for (var x",
    "    for (var x",
    { ...anyDriver, ...TILE },
  ],
  [
    "attention tile: barrier before the next keys",
    "    }\n    workgroupBarrier();\n  }\n  if (SCALED) {",
    "    }\n  }\n  if (SCALED) {",
    { ...anyDriver, match: "heads of 80|heads of 64" },
  ],
  [
    "attention tile: barrier after the values",
    "    workgroupBarrier();\n    for (var t",
    "    for (var t",
    { ...anyDriver, ...TILE },
  ],
  ["attention tile: sum not shrunk", "total * shrink + p[0]", "total + p[0]", TILE],
  ["attention tile: result not shrunk", "o[1] * by.y", "o[1]", TILE],
  [
    "attention tile: maximum forgotten",
    "max(top, max16(lane, max(low, high)))",
    "max16(lane, max(low, high))",
    { match: "large" },
  ],
  ["attention tile: second key of a lane", "entries[key + 16u * STRIDE + x]", "entries[key + x]", TILE],
  ["attention tile: stride of the keys", "entries[t * STRIDE + x] = key;", "entries[t * SLICE4 + x] = key;", TILE],
  [
    "attention tile: one tile past the diagonal unmasked",
    "first + KEYS > min(tile.end, tile.own + 1u)",
    "first > min(tile.end, tile.own + 1u)",
    TILE,
  ],
  [
    "attention tile: window's edge unmasked",
    "first < firstSeen(tile, tile.own + tile.tokens - 1u)",
    "false",
    { match: "window" },
  ],
  ["attention tile: window one longer", "min(own + 1u, params.window)", "min(own, params.window)", { match: "window" }],
  ["attention tile: trees not looked at", "first + KEYS > tile.start && first < tile.start + 32u", "false", TREE],
  [
    "attention tile: sees one row ahead",
    "select(vec4u(tile.end), own + 1u,",
    "select(vec4u(tile.end), own + 2u,",
    TILE,
  ],
  ["attention tile: tiles of the next segment", "    index -= tiles;\n", "", { match: "33 after 63|7 after 30" }],
  ["attention tile: second tile of a segment is the first", "index * TOKENS);", "0u);", TILE],
  ["attention tile: head of a row", "tile.firstHead + row % GROUP", "tile.firstHead", TILE],
  ["attention tile: scales of the first key", "low *= scales[lane % 16u].x;", "low *= scales[0].x;", { match: "int8" }],
  ["attention tile: scale of a value", "low * scales[t * SCALE].y", "low * scales[t * SCALE].x", { match: "int8" }],
  ["attention tile: slopes of one row for all", "slopeOf(h.y)", "slopeOf(h.x)", { match: "ALiBi" }],
  [
    "attention tile: distance from the first token",
    "vec4u(tile.position) + tokens",
    "vec4u(tile.position)",
    { match: "ALiBi" },
  ],
  ["attention tile: cap dropped", "var s = capped(raw);", "var s = raw;", { match: "cap" }],
  ["attention tile: hidden keys weigh", "select(exp(s - top), vec4f(0.0), s <= vec4f(LOWEST))", "exp(s - top)", EMPTY],
  [
    "attention tile: second 64 of the values",
    "first, entry, 16u)",
    "first, entry, 0u)",
    { match: "heads of 128|heads of 80|and 128" },
  ],
  ["attention tile: second 256 of the values", "x % CHUNKS;", "0u;", { match: "260|264" }],
  ["attention tile: partial result divided", "sum, EMIT);", "sum, false);", PARTIAL],
]);

export const attentionMerge = faultsOf("shaders/attention_merge.wgsl", tests, [
  ["attention merge: first part only", "i < params.partsA; i++", "i < min(1u, params.partsA); i++", DECODE],
  ["attention merge: second input not read", "i < params.partsB; i++", "i < 0u; i++", { match: "several parts" }],
  ["attention merge: parts of another row", "(m * params.partsA + i) * HEADS", "(m + i) * HEADS", DECODE],
  ["attention merge: empty parts read", "if (!(stats.y > 0.0)) { return all; }", "", DECODE],
  ["attention merge: sum not rescaled", "joined(all.sum, rescale(all.stats.x, top)", "joined(all.sum, 1.0", DECODE],
  ["attention merge: part not rescaled", "sum, rescale(stats.x, top)", "sum, 1.0", DECODE],
  ["attention merge: heads past the last", "m >= batch.rows || head >= HEADS", "m >= batch.rows", DECODE],
  [
    "attention merge: rows past the batch",
    "m >= batch.rows || head >= HEADS",
    "head >= HEADS",
    { match: "several parts" },
  ],
  [
    "attention merge: joined result without its sum",
    "vec4f(all.stats, 0.0, 0.0); }",
    "vec4f(all.stats.x, 1.0, 0.0, 0.0); }",
    { match: "merged again|several parts" },
  ],
]);

export const attentionFragments = [
  ...faultsOf("shaders/fragments/attention_join.wgsl", tests, [
    ["attention join: l not rescaled", "sum.y * rescale(sum.x, top)", "sum.y", DECODE],
    ["attention join: part's l not rescaled", "part.y * rescale(part.x, top)", "part.y", DECODE],
    ["attention join: nothing seen is 0 / 0", "max(stats.y, 1e-30)", "stats.y", EMPTY],
    [
      "attention join: sink has a value",
      "return sum * rescale(stats.x, all.x) / all.y;",
      "return sum / all.y;",
      { match: "sinks" },
    ],
    ["attention join: sink left out", "vec2f(sink, 1.0)", "vec2f(sink, 0.0)", { match: "sinks" }],
  ]),
  ...faultsOf("shaders/fragments/attention_scores.wgsl", tests, [
    ["attention scores: cap not multiplied back", "return params.softcap * tanh", "return tanh", { match: "cap" }],
    ["attention scores: ancestors past the 32nd", " || bit >= 32u", "", TREE],
    [
      "attention scores: distance without its sign",
      "f32(abs(i32(query - key)))",
      "f32(i32(query - key))",
      { match: "ALiBi" },
    ],
  ]),
  ...faultsOf("shaders/fragments/attention_lanes_subgroups.wgsl", tests, [
    ["attention lanes: pairs only", "two + subgroupShuffleXor(two, 2u)", "two", DECODE],
    [
      "attention lanes: fours only",
      "for (var i = 1u; i < 4u; i++) { all += ",
      "for (var i = 1u; i < 1u; i++) { all += ",
      DECODE,
    ],
    [
      "attention lanes: barrier, subgroups",
      "{ scratch[lane / 4u] = v; }\n  workgroupBarrier();",
      "{ scratch[lane / 4u] = v; }",
      { ...anyDriver, ...DECODE },
    ],
  ]),
  ...faultsOf("shaders/fragments/attention_lanes.wgsl", tests, [
    [
      "attention lanes: one lane left out",
      "var all = vec4f(0.0);\n  for (var i = 0u;",
      "var all = vec4f(0.0);\n  for (var i = 1u;",
      { lanes: ["dawn-plain"], ...DECODE },
    ],
    ["attention lanes: sixteen of another", "/ 16u * 16u", "/ 16u", { lanes: ["dawn-plain"], ...DECODE }],
    [
      "attention lanes: barrier",
      "{ scratch[lane] = v; }\n  workgroupBarrier();",
      "{ scratch[lane] = v; }",
      { lanes: ["dawn-plain", "dawn-swiftshader"], ...TILE },
    ],
  ]),
];

export const attentionHost = [
  ...faultsOf(
    "src/kernels/attention-split.ts",
    ["tests/kernels/variants"],
    [["attention host: past the workgroup's memory", "> WORKGROUP_BYTES", "> 2 * WORKGROUP_BYTES", pure]],
  ),
  ...faultsOf("src/kernels/attention-split.ts", tests, [
    [
      "attention host: one split too few",
      "Math.max(1, Math.ceil(tokens / split))",
      "Math.max(1, Math.floor(tokens / split) - 1)",
      { match: "joins splits" },
    ],
    [
      "attention host: window of whole splits",
      "Math.ceil((options.window - 1) / split) + 1",
      "Math.ceil(options.window / split)",
      { match: "window" },
    ],
  ]),
  ...faultsOf("src/kernels/attention-tile.ts", tests, [
    [
      "attention host: a tile for each segment forgotten",
      "batchRows + segments * (tokens - 1)",
      "batchRows",
      { match: "33 after 63|7 after 30" },
    ],
    ["attention host: one chunk of values", "Math.ceil(valueDim / VALUE_CHUNK)", "1", { match: "260|264" }],
  ]),
];
