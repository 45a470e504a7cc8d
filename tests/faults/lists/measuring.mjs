import { faultsOf, pure } from "../fault.mjs";

const tests = ["tests/kernels/fill"];

// Guards against reading or writing past a binding are in the shaders, but no test can see them missing: WebGPU itself does.
export const measuring = [
  ...faultsOf("shaders/fill.wgsl", tests, [
    ["fill: last vector missing", "if (i >= params.count)", "if (i + 1u >= params.count)"],
    ["fill: stride of a workgroup", "* 256u + lane", "* 128u + lane"],
    ["fill: seed ignored", "vec4u(i, params.seed, 0u, 0u)", "vec4u(i, 1u, 0u, 0u)"],
    ["fill: fixed bits random", "& vec4u(params.keep)", "| vec4u(params.keep)"],
    ["fill: fixed bits missing", " | vec4u(params.fixed)", ""],
    ["fill: the same in every vector", "vec4u(i, params.seed", "vec4u(lane, params.seed"],
  ]),
  ...faultsOf("shaders/peak_read.wgsl", tests, [
    ["peak_read: one load missing", "i < params.perLane; i++", "i + 1u < params.perLane; i++"],
    ["peak_read: last vector missing", "if (at < params.count)", "if (at + 1u < params.count)"],
    ["peak_read: workgroups overlap", "index * 256u * params.perLane + lane", "index * 256u + lane"],
    ["peak_read: the same load again", "first + i * 256u", "first + i * 0u"],
    ["peak_read: a component lost", "sum.x ^ sum.y ^ sum.z ^ sum.w", "sum.x ^ sum.y ^ sum.z"],
    ["peak_read: result of one workgroup", "let slot = index * 256u + lane;", "let slot = lane;"],
    ["peak_read: last load instead of all", "sum ^= data[at]", "sum = data[at]"],
  ]),
  ...faultsOf("shaders/peak_multiply.wgsl", tests, [
    ["peak_multiply: one round missing", "i < params.rounds; i++", "i + 1u < params.rounds; i++"],
    ["peak_multiply: factor is addend", "let b = V(E(params.factor));", "let b = V(E(params.addend));"],
    ["peak_multiply: addend is factor", "let c = V(E(params.addend));", "let c = V(E(params.factor));"],
    ["peak_multiply: a chain is another's copy", "var x7 = start + V(E(7.0));", "var x7 = start + V(E(6.0));"],
    ["peak_multiply: lanes alike", "V(E(lane % 32u)) * E(0.03125)", "V(E(0.0)) * E(0.03125)"],
    ["peak_multiply: half the chains dropped", "dot(low + high, vec4f(1.0))", "dot(low, vec4f(1.0))"],
    ["peak_multiply: past the end", "if (index < params.lanes) { out[index] =", "{ out[index] ="],
    ["peak_multiply: stride of a workgroup", "* 256u + lane;\n  let b", "* 255u + lane;\n  let b"],
  ]),
  ...faultsOf("shaders/peak_touch.wgsl", tests, [
    ["peak_touch: does not count", "out[0] += 1u;", "out[0] = 1u;"],
    ["peak_touch: counts twice", "out[0] += 1u;", "out[0] += 2u;"],
  ]),
  ...faultsOf(
    "src/gpu/timing.ts",
    ["tests/bench/timing"],
    [
      [
        "slope: a pass's own cost kept",
        "second + third - first - (await time(repeats))",
        "second + 0 * first * third",
        pure,
      ],
      [
        "slope: half of a repeat",
        "(await time(repeats))) / (2 * repeats)",
        "(await time(repeats))) / (4 * repeats)",
        pure,
      ],
      [
        "slope: the first round instead of the median",
        "const found = median(slopes);",
        "const found = slopes[0]!;",
        pure,
      ],
      ["slope: budget ignored", " && now() - begun < budgetMs", "", pure],
    ],
  ),
  ...faultsOf(
    "src/engine/tune.ts",
    ["tests/engine/tune"],
    [
      ["tune: margin ignored", "MARGIN * medians[0]!", "medians[0]!", pure],
      ["tune: a clock that stood still wins", "ms > 0 && ms <", "ms <", pure],
      ["tune: the luckiest run wins", "times.map(median)", "times.map((t) => Math.min(...t))", pure],
      ["tune: one key for all layouts", "agent, version, layout]", "agent, version]", pure],
    ],
  ),
];
