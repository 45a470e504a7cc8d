import { anyDriver, faultsOf } from "../fault.mjs";

const tests = ["tests/kernels/rope-write"];
const int8 = { match: "int8" };
const norm = { match: "norm" };

export const rotary = faultsOf("shaders/fragments/rotary.wgsl", tests, [
  ["rope: sign of the sine", "select(sine, -sine, leads)", "select(-sine, sine, leads)"],
  ["rope: pairs are neighbours, not halves", "select(j - HALF, j + HALF, j < HALF)", "j ^ 1u"],
  ["rope: halves, not neighbours", "if (INTERLEAVED) { return j ^ 1u; }", "", { match: "interleaved" }],
  ["rope: neighbours with the angles of halves", "angle = j / 2u;", "", { match: "interleaved" }],
  ["rope: neighbours with the signs of halves", "leads = (j & vec4u(1u)) == vec4u(0u);", "", { match: "interleaved" }],
  ["rope: past the rotary part", "if (e >= ROTARY) { return own; }", "", { match: "rotate" }],
  ["rope: second half's angles", "select(j - HALF, j, j < vec4u(HALF))", "j"],
  ["rope: far table ignored", "(position >> 8u) * REGIMES", "0u"],
  ["rope: near table one bit short", "position & 255u", "position & 127u"],
]);

export const rope = faultsOf("shaders/rope_write.wgsl", tests, [
  ["rope: position is the length", "states[row.slot].position + row.offset", "states[row.slot].length + row.offset"],
  ["rope: offset of the row dropped", "states[row.slot].position + row.offset", "states[row.slot].position"],
  ["rope: a key's values for all heads", "+ (head - HEADS) * VALUE_DIM + e", "+ e"],
  [
    "rope: values as wide as keys",
    "(head - HEADS) * VALUE_DIM + e",
    "(head - HEADS) * HEAD_DIM + e",
    { match: "and 16" },
  ],
  ["rope: queries and keys not cut", "  own = clipped(own);\n", "", { match: "cut at" }],
  ["rope: partners not cut", "  partner = clipped(partner);\n", "", { match: "cut at" }],
  ["rope: values not cut", "value = clipped(vec4f(", "value = (vec4f(", { match: "cut at" }],
  ["rope: cut from above alone", "vec4f(-params.clip)", "vec4f(-1e30)", { match: "cut at" }],
  ["rope: query scale dropped", " * params.queryScale", "", { match: "queries times" }],
  ["rope: rows past the batch written", "if (m >= batch.rows) { return; }", ""],
  ["rope: heads past the last", " && head < END", "", { match: "heads of 12|9/3|5/5" }],
  ["rope: keys over queries", "if (holdsOwn && head < HEADS)", "if (holdsOwn)"],
  ["rope: a partner is not normalised", "partner = (partner - norm.x) * norm.y * gain4(gains + partners);", "", norm],
  ["rope: a partner with the own gain", "* gain4(gains + partners)", "* gain4(gains + vec4u(e))", norm],
  ["rope: gains of the first head", "(head - FIRST) * params.gainStep", "0u", { match: "norm rms (true|row)" }],
  [
    "rope: eps dropped from the norm",
    "dot(apart, apart)) * params.invWidth + params.eps",
    "dot(apart, apart)) * params.invWidth",
    norm,
  ],
  ["rope: mean not taken off", "select(vec4f(0.0), own - mean, holds)", "own", { match: "norm layer" }],
  [
    "rope: idle lanes count in the norm",
    "select(vec4f(0.0), own - mean, holds)",
    "own - mean",
    { match: "norm layer" },
  ],
  ["rope: row norm over the first head", "i < (END - FIRST) * HEAD_DIM", "i < HEAD_DIM", { match: "norm rms row" }],
  ["rope: row norm from the queries on", "m * WIDTH + FIRST * HEAD_DIM", "m * WIDTH", { match: "norm rms row" }],
  [
    "rope: barrier before the sum",
    "sums[lane] = v;\n  workgroupBarrier();",
    "sums[lane] = v;",
    { ...norm, ...anyDriver },
  ],
  [
    "rope: barrier after the sum",
    "sum += sums[first + i]; }\n  workgroupBarrier();",
    "sum += sums[first + i]; }",
    { match: "norm layer", ...anyDriver },
  ],
  ["rope: sum of one lane too few", "i < params.sumLanes; i++", "i + 1u < params.sumLanes; i++", norm],
]);

export const entry = faultsOf("shaders/fragments/entry_write.wgsl", tests, [
  [
    "entry: cache index is the position",
    "states[row.slot].length + row.offset",
    "states[row.slot].position + row.offset",
  ],
  ["entry: cache index without the row's offset", "states[row.slot].length + row.offset", "states[row.slot].length"],
  ["entry: values over keys", "params.valueOffset + entry * VALUE_DIM", "entry * VALUE_DIM"],
  ["entry: values with the keys' stride", "entry * VALUE_DIM", "entry * HEAD_DIM", { match: "and 16" }],
  ["entry: a key past its end", "if (e < HEAD_DIM)", "if (e < VALUE_DIM)", { match: "and 24" }],
  ["entry: first head's place for all", "index, kvHead)", "index, 0u)"],
  ["entry: scales swapped", "scales.x | (scales.y << 16u)", "scales.y | (scales.x << 16u)", int8],
  ["entry: one scale for both", "cacheScale(top.y)", "cacheScale(top.x)", int8],
  ["entry: scales over the keys", "params.scaleOffset + entry", "entry", int8],
  ["entry: largest of one lane", "i < params.units; i++", "i < 1u; i++", { match: "int8.*heads of 20" }],
  ["entry: largest is signed", "let a = abs(v);", "let a = v;", int8],
  ["entry: largest of three", "max(a.z, a.w)", "a.z", int8],
  [
    "entry: barrier before the scale",
    "largest(value));\n    workgroupBarrier();",
    "largest(value));",
    { match: "int8.*heads of (80|256|260)", ...anyDriver },
  ],
]);
