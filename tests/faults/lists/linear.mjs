import { faultsOf, anyDriver } from "../fault.mjs";

export const linear = faultsOf(
  "shaders/linear.wgsl",
  ["tests/kernels/linear"],
  [
    ["linear: barrier dropped", "  workgroupBarrier();\n", "", anyDriver],
    ["linear: stride of the partial sums", "m * 64u + (lane / LANES) * LANES", "m * 64u + lane / LANES"],
    ["linear: gain missing", "let scaled = v * gainAt(k4);", "let scaled = v;"],
    [
      "linear: eps dropped",
      "sum.z * params.invColumns + params.eps",
      "sum.z * params.invColumns",
      { match: "x ~ 0.001" },
    ],
    ["linear: mean is a sum", "sum.z * params.invColumns + params.eps", "sum.z + params.eps"],
    ["linear: last columns missing", "k4 < columns4; k4", "k4 + 1u < columns4; k4"],
    ["linear: one lane's sum missing", "i < LANES; i++", "i + 1u < LANES; i++"],
    ["linear: residual dropped", "out[at] = v + residualAt(at);", "out[at] = v;"],
    ["linear: bias dropped", "y + vec2f(biasAt(global), biasAt(global + 1u))", "y"],
    [
      "linear: bias of the part, not the matrix",
      "biasAt(global), biasAt(global + 1u)",
      "biasAt(n), biasAt(n + 1u)",
      { match: "parts" },
    ],
    [
      "linear: gate and up swapped",
      "v.x / (1.0 + exp(min(-v.x, 80.0))) * v.y",
      "v.y / (1.0 + exp(min(-v.y, 80.0))) * v.x",
    ],
    ["linear: gather ignored", "return sampleRow(m);", "return m;", { match: "rows " }],
    ["linear: rows past the batch written", "let count = min(TILE, total - first);", "let count = TILE;"],
    ["linear: columns past the matrix written", "if (n + 1u < params.rowCount) { write", "{ write"],
    ["linear: rows of the grid's second half", "group.z * groups.x + group.x", "group.x", { match: "folds" }],
    ["linear: part starts at 0", "let global = params.rowStart + n;", "let global = n;", { match: "parts" }],
  ],
);
