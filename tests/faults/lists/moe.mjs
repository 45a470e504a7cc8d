import { anyDriver, faultsOf } from "../fault.mjs";

const router = faultsOf(
  "shaders/moe_route.wgsl",
  ["tests/kernels/moe-route"],
  [
    [
      "moe route: barrier after the logits",
      "logits[t * params.stride + e]); }\n  workgroupBarrier();",
      "logits[t * params.stride + e]); }",
      anyDriver,
    ],
    [
      "moe route: barrier after the keys",
      "KEY_IS_LOGIT);\n  }\n  workgroupBarrier();",
      "KEY_IS_LOGIT);\n  }",
      anyDriver,
    ],
    [
      "moe route: barrier before the weights",
      "chosen[place] = e; }\n  }\n  workgroupBarrier();",
      "chosen[place] = e; }\n  }",
      anyDriver,
    ],
    ["moe route: stride of the logits", "logits[t * params.stride + e]", "logits[t * params.experts + e]"],
    ["moe route: maximum not taken off", "score = exp(logit - top) / total;", "score = exp(logit) / total;"],
    [
      "moe route: last expert missing from the sum",
      "for (var e = 0u; e < params.experts; e++) { total",
      "for (var e = 1u; e < params.experts; e++) { total",
    ],
    ["moe route: weighted by score and bias", "scores[e] = score;", "scores[e] = score + biasAt(e);"],
    ["moe route: bias dropped", "score + biasAt(e), logit", "score, logit"],
    ["moe route: higher id of equals", "(other == own && o < e)", "(other == own && o > e)"],
    [
      "moe route: equals share a place",
      "if (other > own || (other == own && o < e)) { place++; }",
      "if (other > own) { place++; }",
    ],
    ["moe route: not renormalised", "weight /= sum + 1e-20;", "weight = weight;"],
    ["moe route: nothing added to the sum", "sum + 1e-20", "sum", { match: "tiny" }],
    [
      "moe route: sum of all but one",
      "for (var j = 0u; j < params.topK; j++) { sum",
      "for (var j = 1u; j < params.topK; j++) { sum",
    ],
    ["moe route: scale dropped", "weight * params.scale", "weight"],
    ["moe route: table ignored", "vec2u(slotOf(e),", "vec2u(e,"],
    ["moe route: groups ignored", ">= params.topGroups) { keys", ">= params.groups) { keys"],
    ["moe route: excluded experts at zero", "{ keys[e] = EXCLUDED; }", "{ keys[e] = 0.0; }"],
    [
      "moe route: one group too many",
      "groupPlace(e / params.groupSize) >= params.topGroups",
      "groupPlace(e / params.groupSize) > params.topGroups",
    ],
    ["moe route: best of a group only", "if (GROUP_BY_TWO) { return best + second; }\n", ""],
    ["moe route: second of a group forgotten", "second = max(second, min(best, key));", "second = min(best, key);"],
    ["moe route: higher group of equals", "(other == own && o < g)", "(other == own && o > g)"],
    ["moe route: NaN passes", "return select(LOWEST, -LOWEST, bits == 0x7f800000u);", "return logit;"],
    ["moe route: infinity is the worst", "select(LOWEST, -LOWEST, bits == 0x7f800000u)", "LOWEST"],
    ["moe route: rows past the batch", "if (t >= batch.rows) { return; }", ""],
    ["moe route: experts past the workgroup", "scores[e] = score;\n    keys[e]", "scores[lane] = score;\n    keys[e]"],
  ],
);

const counts = faultsOf(
  "shaders/moe_count.wgsl",
  ["tests/kernels/moe-route"],
  [
    ["moe count: not added up", "counts[e] += ", "counts[e] = "],
    [
      "moe count: first 256 experts",
      "e < params.experts; e += LANES) { counts",
      "e < min(params.experts, LANES); e += LANES) { counts",
    ],
    ["moe count: rows past the batch", "i < batch.rows * params.topK", "i < 9u * params.topK"],
    [
      "moe count: one lane's pairs only",
      "i < batch.rows * params.topK; i += LANES",
      "i < min(LANES, batch.rows * params.topK); i += LANES",
    ],
    ["moe count: barrier dropped", "1u); }\n  workgroupBarrier();", "1u); }", anyDriver],
  ],
);

/** @type {{ match: string }} */
const pair = { match: "by pair .*top 2 of 6" };
/** @type {{ match: string }} */
const grouped = { match: "by expert .*top 2 of 6" };

const fewRows = [
  ...faultsOf(
    "shaders/moe_up.wgsl",
    ["tests/kernels/moe-experts"],
    [
      ["moe up: experts of other parts", "if (local >= params.experts) { return; }", "", { match: "by pair .*parts" }],
      [
        "moe up: first expert of the part",
        "let local = slot - params.firstSlot;",
        "let local = slot;",
        { match: "by pair .*parts" },
      ],
      [
        "moe up: row of the pair, not the token",
        "(pair / params.topK) * (params.columns / 4u)",
        "pair * (params.columns / 4u)",
        pair,
      ],
      ["moe up: third row twice", "vec4u(0u, 1u, 2u, 3u)", "vec4u(0u, 1u, 2u, 2u)", pair],
      [
        "moe up: squares not divided",
        "laneSum(4u, first) * params.invColumns",
        "laneSum(4u, first)",
        { match: "by pair .* norm" },
      ],
      ["moe up: eps dropped", "params.invColumns + params.eps", "params.invColumns", { match: "by pair .*0.001" }],
      [
        "moe up: squares of one lane",
        "giveLane(4u, lane, share.squares);",
        "giveLane(4u, lane, select(0.0, share.squares, k == 0u));",
        { match: "by pair .* norm" },
      ],
      ["moe up: gate and up swapped", "gated(y.x, y.y,", "gated(y.y, y.x,", pair],
      [
        "moe up: bias of the part, not the matrix",
        "let biasRow = slot * params.rows",
        "let biasRow = local * params.rows",
        { match: "by pair .*parts" },
      ],
      [
        "moe up: bias of expert 0",
        "let biasRow = slot * params.rows + n + i;",
        "let biasRow = n + i;",
        { match: "by pair .* bias" },
      ],
      ["moe up: outputs past the expert's", "if (n + i >= params.rows) { break; }", "", pair],
      ["moe up: second output dropped", "i < 4u; i += 2u", "i < 2u; i += 2u", pair],
    ],
  ),
  ...faultsOf(
    "shaders/moe_down.wgsl",
    ["tests/kernels/moe-experts"],
    [
      ["moe down: rows past the batch", "if (t >= batch.rows) { return; }", "", { match: "by pair .* of 8" }],
      ["moe down: last expert missing", "j < params.topK; j++", "j + 1u < params.topK; j++", pair],
      [
        "moe down: experts of other parts",
        "if (local >= params.experts) { continue; }",
        "",
        { match: "by pair .*parts" },
      ],
      [
        "moe down: activations of the token's first expert",
        "own, pair * (params.columns",
        "own, (t * params.topK) * (params.columns",
        pair,
      ],
      ["moe down: weight dropped", "dots += bitcast<f32>(route.y) * share;", "dots += share;", pair],
      ["moe down: bias of every lane", "    if (k == 0u) {\n", "    if (true) {\n", { match: "by pair .* bias" }],
      ["moe down: bias not weighted", "share += vec4f(biasAt", "dots += vec4f(biasAt", { match: "by pair .* bias" }],
      [
        "moe down: bias of the part",
        "let biasRow = route.x * params.rows",
        "let biasRow = local * params.rows",
        { match: "by pair .*parts" },
      ],
      ["moe down: every part writes", "if (params.first == 1u)", "if (true)", { match: "by pair .*parts" }],
      ["moe down: no part writes first", "if (params.first == 1u)", "if (false)", pair],
      ["moe down: nothing joins", "y + joined(t, at)", "y", { match: "by pair .* residual" }],
      ["moe down: rows past the expert's", "if (n + i >= params.rows) { break; }", "", pair],
      ["moe down: one row of four", "i < 4u; i += params.lanes", "i < 1u; i += params.lanes", pair],
    ],
  ),
  ...faultsOf(
    "shaders/fragments/moe_dots.wgsl",
    ["tests/kernels/moe-experts"],
    [
      [
        "moe dots: stride of the lanes",
        "block += params.lanes",
        "block += 2u * params.lanes",
        { match: "by pair .*132" },
      ],
      [
        "moe dots: second row twice",
        "let at = rows * (params.rowWords / 4u);",
        "let at = rows.xxzw * (params.rowWords / 4u);",
        pair,
      ],
      [
        "moe dots: columns past the row",
        "let inside = k4 + $ju < columns4;",
        "let inside = true;",
        { match: "by pair q4 4 tokens 100" },
      ],
      ["moe dots: zero not taken off", "dots - zeros(rows, block) * sum", "dots", { match: "by pair q4" }],
      ["moe dots: sum of x not reset", "    var sum = 0.0;\n", "    var sum = 1.0;\n", { match: "by pair q4" }],
      [
        "moe dots: gain dropped",
        "v *= select(vec4f(0.0), gainAt(k4 + $ju), inside);",
        "",
        { match: "by pair .* norm" },
      ],
      [
        "moe dots: squares after the gain",
        "share.squares += dot(v, v);\n          v *= select(vec4f(0.0), gainAt(k4 + $ju), inside);",
        "v *= select(vec4f(0.0), gainAt(k4 + $ju), inside);\n          share.squares += dot(v, v);",
        { match: "by pair .* norm" },
      ],
      ["moe dots: same part of a block again", "      b2 = nextPart(b2);\n", "", { match: "by pair (q|f16|bf16)" }],
      [
        "moe dots: scale of another row",
        "blockScale(rows.y, block, params.rowWords)",
        "blockScale(rows.x, block, params.rowWords)",
        { match: "by pair q" },
      ],
      ["moe dots: fourth dot lost", "giveLane(3u, lane, dots.w);", "giveLane(3u, lane, 0.0);", pair],
    ],
  ),
  ...faultsOf(
    "shaders/fragments/moe_join.wgsl",
    ["tests/kernels/moe-experts"],
    [
      ["moe join: residual dropped", "residualAt(at) + ", "", { match: "residual" }],
      ["moe join: gate dropped", " * gateAt(t)", "", { match: "gated" }],
      ["moe join: gate of the first token", "gateAt(t)", "gateAt(0u)", { match: "gated" }],
      [
        "moe join: residual gated too",
        "residualAt(at) + sharedAt(at) * gateAt(t)",
        "(residualAt(at) + sharedAt(at)) * gateAt(t)",
        { match: "gated" },
      ],
    ],
  ),
];

const manyRows = [
  ...faultsOf(
    "shaders/moe_sort.wgsl",
    ["tests/kernels/moe-sort"],
    [
      ["moe sort: barrier after the counts", "1u); }\n  }\n  workgroupBarrier();", "1u); }\n  }", anyDriver],
      ["moe sort: barrier after a chunk's slots", "reading.\n    workgroupBarrier();", "reading.", anyDriver],
      [
        "moe sort: barrier before the next chunk",
        "first + lane;\n    }\n    workgroupBarrier();",
        "first + lane;\n    }",
        anyDriver,
      ],
      ["moe sort: not rounded up", "+ BLOCK - 1u) / BLOCK", ") / BLOCK"],
      ["moe sort: a block too many", "+ BLOCK - 1u) / BLOCK", "+ BLOCK) / BLOCK"],
      ["moe sort: later pairs of the chunk first", "(at < vec4u(lane))", "(at > vec4u(lane))"],
      ["moe sort: own pair counted", "(at < vec4u(lane))", "(at <= vec4u(lane))"],
      ["moe sort: next chunk from the same place", "{ next[slot] = place + 1u; }", "{ next[slot] = place; }"],
      ["moe sort: padding not written", "{ list[pairsAt + i] = NO_PAIR; }", "{ }"],
      ["moe sort: scan includes its own", "for (var o = 0u; o < s; o++)", "for (var o = 0u; o <= s; o++)"],
      [
        "moe sort: pairs past the batch",
        "let pairs = batch.rows * params.topK;",
        "let pairs = 200u;",
        { match: "fewer" },
      ],
      [
        "moe sort: pairs that are nowhere",
        "    if (slot < params.experts) {\n      place",
        "    if (true) {\n      place",
        { match: "nowhere" },
      ],
      [
        "moe sort: slots past the 256th",
        "for (var s = lane; s < params.experts; s += LANES) {\n    var first",
        "for (var s = lane; s < min(params.experts, LANES); s += LANES) {\n    var first",
      ],
    ],
  ),
  ...faultsOf(
    "shaders/moe_matmul.wgsl",
    ["tests/kernels/moe-experts"],
    [
      [
        "moe matmul: barrier before the products",
        "wTile[r * STRIDE + depth] = w;\n    }\n    workgroupBarrier();",
        "wTile[r * STRIDE + depth] = w;\n    }",
        anyDriver,
      ],
      [
        "moe matmul: barrier before the next tile",
        "dot(a3, w3));\n    }\n    workgroupBarrier();",
        "dot(a3, w3));\n    }",
        anyDriver,
      ],
      ["moe matmul: barrier after the squares", "= square.y;\n  workgroupBarrier();", "= square.y;", anyDriver],
      ["moe matmul: block's slot", "let slot = list[1u + block];", "let slot = list[1u];", grouped],
      [
        "moe matmul: experts of other parts",
        "if (local >= params.experts) { return; }",
        "",
        { match: "by expert .*parts" },
      ],
      [
        "moe matmul: blocks past those in use",
        "if (block >= list[0]) { return; }",
        "",
        { match: "by expert .*earlier" },
      ],
      ["moe matmul: row of the pair", "pair / params.share", "pair", grouped],
      [
        "moe matmul: lower rows of x",
        "xTile[lower * STRIDE + depth] = v1;",
        "xTile[lower * STRIDE + depth] = v0;",
        { match: "by expert .*towards last" },
      ],
      [
        "moe matmul: columns past the row",
        "if (k4 < columns4) {\n      v0",
        "if (true) {\n      v0",
        { match: "by expert f32 5 tokens" },
      ],
      [
        "moe matmul: stride of the tile",
        "let w1 = wTile[(c + 1u) * STRIDE + i];",
        "let w1 = wTile[(c + 1u) * DEPTH4 + i];",
        grouped,
      ],
      [
        "moe matmul: second half of the columns",
        "let w2 = wTile[(c + 32u) * STRIDE + i];",
        "let w2 = wTile[c * STRIDE + i];",
        grouped,
      ],
      [
        "moe matmul: part starts at slot 0",
        "local * params.rows + min",
        "slot * params.rows + min",
        { match: "by expert .*parts" },
      ],
      ["moe matmul: gain dropped", "        v1 *= gainAt(k4);\n", "", { match: "by expert .* norm" }],
      [
        "moe matmul: squares of the upper row",
        "squares[lower * DEPTH4 + depth] = square.y;",
        "squares[lower * DEPTH4 + depth] = square.x;",
        { match: "by expert .* norm" },
      ],
      [
        "moe matmul: eps dropped",
        "params.invColumns + params.eps",
        "params.invColumns",
        { match: "by expert .*0.001" },
      ],
      ["moe matmul: rows of a lane swapped", "firstColumn + c, acc1);", "firstColumn + c, acc2);", grouped],
      ["moe matmul: columns past the expert's", "if (n >= params.rows) { return; }", "", grouped],
      [
        "moe matmul: bias of the part",
        "let biasRow = slot * params.rows + n;",
        "let biasRow = n;",
        { match: "by expert .* bias" },
      ],
      ["moe matmul: gate and up swapped", "gated(v.x, v.y,", "gated(v.y, v.x,", grouped],
    ],
  ),
  ...faultsOf(
    "shaders/moe_combine.wgsl",
    ["tests/kernels/moe-experts"],
    [
      ["moe combine: weight dropped", "bitcast<f32>(route.y) * x", "x", grouped],
      ["moe combine: last expert missing", "j < params.topK; j++", "j + 1u < params.topK; j++", grouped],
      ["moe combine: nothing joins", "sum + joined(t, at)", "sum", { match: "by expert .* residual" }],
      [
        "moe combine: experts that are nowhere",
        "if (route.x < params.experts)",
        "if (true)",
        { match: "by expert .* missing" },
      ],
      ["moe combine: rows past the batch", " || t >= batch.rows", "", { match: "by expert .* of (8|40|300)" }],
      ["moe combine: columns past the row", "id.x >= params.rows || ", "", { match: "by expert .* missing" }],
    ],
  ),
];

export const moe = [...router, ...counts, ...fewRows, ...manyRows];
