import { anyDriver, faultsOf } from "../fault.mjs";

const tests = ["tests/kernels/norm"];

export const norm = [
  ...faultsOf("shaders/norm.wgsl", tests, [
    ["norm: rows past the batch written", "if (m >= select(batch.rows, batch.samples, SAMPLES)) { return; }", ""],
    [
      "norm: sampled rows counted as rows",
      "select(batch.rows, batch.samples, SAMPLES)",
      "batch.rows",
      { match: "gather" },
    ],
    ["norm: first group for all", "group.x * params.group4;", "0u;", { match: "groups" }],
    ["norm: gains of the first group", "group.x * params.gainStep + i", "i", { match: "ownGains" }],
    [
      "norm: gathered row's place",
      "xRow(m) * params.width4 + offset",
      "m * params.width4 + offset",
      { match: "gather" },
    ],
    [
      "norm: written at the gathered row",
      "let result = m * params.width4",
      "let result = xRow(m) * params.width4",
      { match: "gather" },
    ],
    ["norm: mean dropped", "mean = rowSum(lane, vec2f(all, 0.0)).x * params.invCount;", "", { match: "layer.*mean" }],
    ["norm: the mean's rounding stays", "((v - mean) - rest)", "(v - mean)", { match: "layer.*mean" }],
    ["norm: eps dropped", "max(moments.y - rest * rest, 0.0) + params.eps", "max(moments.y - rest * rest, 1e-30)"],
    ["norm: a mean taken off in RMSNorm", "select(0.0, moments.x, CENTRED)", "moments.x"],
    ["norm: bias dropped", " + biasAt(at)", "", { match: "bias" }],
    ["norm: residual dropped", "residualAt(result + i) + ", "", { match: "residual" }],
    ["norm: the sum is the norm's", "emitSum(result + i, v);", "emitSum(result + i, v * factor);", { match: "add" }],
    [
      "norm: last lane's part of a row",
      "i < params.group4; i += LANES) {\n    let v = input(source + i) - mean;",
      "i + 1u < params.group4; i += LANES) {\n    let v = input(source + i) - mean;",
    ],
    [
      "norm: wrong stride",
      "i < params.group4; i += LANES) {\n    let v = input(source + i);",
      "i < params.group4; i += LANES + 1u) {\n    let v = input(source + i);",
    ],
  ]),
  ...faultsOf("shaders/fragments/row_sum_memory.wgsl", tests, [
    [
      "row sum: barrier of the tree",
      "    workgroupBarrier();\n    if (lane",
      "    if (lane",
      { match: "subgroups false", ...anyDriver },
    ],
    [
      "row sum: barrier before it is used again",
      "rowSums[0];\n  workgroupBarrier();",
      "rowSums[0];",
      { match: "layer.*subgroups false", ...anyDriver },
    ],
    ["row sum: half of the lanes", "distance = LANES / 2u", "distance = LANES / 4u", { match: "subgroups false" }],
  ]),
  ...faultsOf("shaders/fragments/row_sum_subgroups.wgsl", tests, [
    ["row sum: each lane of a subgroup leaves its sum", "select(vec2f(0.0), own, subgroupElect())", "own"],
    ["row sum: subgroups of 32", "i += size", "i += 32u"],
    ["row sum: lane instead of subgroup lane", "i = subgroupExclusiveAdd(1u)", "i = lane"],
    ["row sum: barrier between subgroups", "subgroupElect());\n  workgroupBarrier();", "subgroupElect());", anyDriver],
  ]),
  ...faultsOf("src/kernels/norm.ts", tests, [
    ["norm: offset lost without a gain", "vec4f(1.0 + params.gainOffset)", "vec4f(1.0)", { match: "offset" }],
    ["norm: scale of the sum lost", "x[i] + params.deltaScale * delta[i]", "x[i] + delta[i]", { match: "add" }],
    ["norm: mean over the row, not the group", "invCount: 1 / group", "invCount: 1 / x.width", { match: "groups" }],
  ]),
];
