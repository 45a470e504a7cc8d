// Faults that one could make in a kernel, one exact replacement each. `node scripts/faults.mjs` puts them in one at a
// time and expects the named tests to go red: what stays green shows a test that is missing.

/**
 * @typedef {object} Fault
 * @property {string} id
 * @property {string} file from the repository's root
 * @property {string} find occurs exactly once in the file
 * @property {string} replace
 * @property {string[]} tests filters of test files
 * @property {string[]} [lanes] where it is tried in turn until it shows; lavapipe alone where absent
 * @property {string} [match] a pattern of the names of the tests that can tell, where running all of them takes long
 */

/** Barriers: lavapipe runs some lanes of a workgroup in step, SwiftShader others. */
const anyDriver = { lanes: ["dawn-lavapipe", "dawn-swiftshader"] };
const pure = { lanes: ["pure"] };

/** @typedef {[id: string, find: string, replace: string, options?: { lanes?: string[], match?: string }]} Row */

/** @param {string} file @param {string[]} tests @param {Row[]} list @returns {Fault[]} */
function faultsOf(file, tests, list) {
  return list.map(([id, find, replace, options]) => ({ id, file, find, replace, tests, ...options }));
}

const linear = faultsOf(
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

const weights = [
  ...faultsOf(
    "shaders/fragments/weights_bf16.wgsl",
    ["tests/kernels/linear", "tests/kernels/embed"],
    [
      ["bf16: halves swapped", "lo << 16u, lo & 0xffff0000u,", "lo & 0xffff0000u, lo << 16u,"],
      ["bf16: lower half not shifted", "hi << 16u,", "hi,"],
    ],
  ),
  ...faultsOf(
    "shaders/fragments/weights_f16.wgsl",
    ["tests/kernels/linear", "tests/kernels/embed"],
    [
      [
        "f16: words swapped",
        "weights[at]), unpack2x16float(weights[at + 1u])",
        "weights[at + 1u]), unpack2x16float(weights[at])",
      ],
    ],
  ),
  ...faultsOf(
    "shaders/fragments/weights_q8.wgsl",
    ["tests/kernels/embed"],
    [["q8: scale of the next group", "k4 / 8u", "k4 / 8u + 1u"]],
  ),
  ...faultsOf(
    "shaders/fragments/weights_q4.wgsl",
    ["tests/kernels/embed"],
    [
      ["q4: nibbles swapped", "4u * (k4 & 1u)", "4u * (1u - (k4 & 1u))"],
      ["q4: not centred", "- 8.0", "- 7.0"],
    ],
  ),
  ...faultsOf(
    "shaders/fragments/group_scale.wgsl",
    ["tests/kernels/embed"],
    [["grouped: scales of a pair swapped", "(group & 1u) == 1u", "(group & 1u) == 0u"]],
  ),
  ...faultsOf(
    "shaders/embed.wgsl",
    ["tests/kernels/embed"],
    [
      ["embed: scale dropped", "params.scale * weight4", "weight4"],
      ["embed: last token not taken from the state", "if (token == FROM_STATE)", "if (false)"],
      ["embed: part's start ignored", "let local = token - params.rowStart;", "let local = token;"],
      ["embed: part's end ignored", "if (local >= params.rowCount) { return; }", ""],
      ["embed: rows past the batch written", "m >= batch.rows || ", ""],
    ],
  ),
];

const rope = faultsOf(
  "shaders/rope_write.wgsl",
  ["tests/kernels/rope-write"],
  [
    ["rope: sign of the sine", "a * cosine - b * sine", "a * cosine + b * sine"],
    ["rope: pairs are neighbours, not halves", "select(e0 + 2u, e0 + half, rotates)", "e0 + 2u"],
    ["rope: halves swapped", "b = b * cosine + a * sine;", "b = a * cosine + b * sine;"],
    ["rope: far table ignored", "far[(position >> 8u) * half + e]", "far[e]"],
    ["rope: near table one bit short", "position & 255u", "position & 127u"],
    ["rope: position is the length", "states[slot].position + row.offset", "states[slot].length + row.offset"],
    ["rope: offset of the row dropped", "states[slot].position + row.offset", "states[slot].position"],
    ["rope: values rotate", "if (rotates && !isValue)", "if (rotates)"],
    ["rope: values over keys", "select(0u, params.valueOffset, isValue)", "0u"],
    ["rope: cache index is the position", "states[slot].length + row.offset", "states[slot].position + row.offset"],
    ["rope: cache index without the row's offset", "states[slot].length + row.offset", "states[slot].length"],
    ["rope: values of the wrong head", "select(head - HEADS, head - HEADS - KV_HEADS, isValue)", "(head - HEADS) % 1u"],
    ["rope: rows past the batch written", "m >= batch.rows || ", ""],
  ],
);

const cache = [
  ...faultsOf(
    "shaders/fragments/cache_store_f16.wgsl",
    ["tests/kernels/rope-write"],
    [["cache: f16 not clamped", "clamp(v, vec2f(-65504.0), vec2f(65504.0))", "v"]],
  ),
  ...faultsOf(
    "shaders/fragments/cache_f16.wgsl",
    ["tests/kernels/attention"],
    [
      [
        "cache: f16 words swapped",
        "pool[at / 2u]), unpack2x16float(pool[at / 2u + 1u])",
        "pool[at / 2u + 1u]), unpack2x16float(pool[at / 2u])",
      ],
    ],
  ),
  ...faultsOf(
    "shaders/fragments/pages.wgsl",
    ["tests/kernels/attention", "tests/kernels/rope-write"],
    [
      ["pages: shift one too many", "index >> PAGE_SHIFT", "index >> (PAGE_SHIFT + 1u)"],
      ["pages: table of another slot", "slot * params.pagesPerSequence + (", "("],
      ["pages: entry of a page halved", "index & (PAGE - 1u)", "index & (PAGE / 2u - 1u)"],
      ["pages: heads of a page overlap", "(page * KV_HEADS + head) * PAGE", "(page + head) * PAGE"],
    ],
  ),
];

const attention = faultsOf(
  "shaders/attention.wgsl",
  ["tests/kernels/attention"],
  [
    [
      "attention: barrier after the queries",
      "    total[lane] = 0.0;\n  }\n  workgroupBarrier();",
      "    total[lane] = 0.0;\n  }",
      anyDriver,
    ],
    [
      "attention: barrier after the scores",
      "      weight[i] = s;\n    }\n    workgroupBarrier();",
      "      weight[i] = s;\n    }",
      anyDriver,
    ],
    [
      "attention: barrier after the softmax",
      "      shrink[lane] = factor;\n    }\n    workgroupBarrier();",
      "      shrink[lane] = factor;\n    }",
      anyDriver,
    ],
    [
      "attention: barrier after the values",
      "      acc[i] = sum;\n    }\n    workgroupBarrier();",
      "      acc[i] = sum;\n    }",
      anyDriver,
    ],
    ["attention: result not shrunk", "acc[i] * shrink[h]", "acc[i]"],
    ["attention: sum not shrunk", "total[lane] * factor", "total[lane]"],
    ["attention: maximum forgotten", "top[lane] = highest;", ""],
    ["attention: scale dropped", " * params.scale", ""],
    ["attention: sees one row ahead", "own + 1u, CAUSAL", "own + 2u, CAUSAL"],
    ["attention: does not see itself", "own + 1u, CAUSAL", "own, CAUSAL"],
    [
      "attention: encoder ends at its own row",
      "start + segments[row.segment].count, own + 1u, CAUSAL",
      "own + 1u, own + 1u, CAUSAL",
      { match: "not causal" },
    ],
    [
      "attention: ancestors ignored",
      "return index < start || bit >= 32u || ((ancestors >> bit) & 1u) == 1u;",
      "return true;",
      { match: "tree" },
    ],
    ["attention: ancestors past the 32nd", "bit >= 32u || ", "", { match: "tree" }],
    [
      "attention: key head of the query head",
      "let kvHead = group.x / chunks;",
      "let kvHead = group.x % KV_HEADS;",
      { match: "80/2 heads" },
    ],
    [
      "attention: second chunk of heads is the first",
      "kvHead * heads + (group.x % chunks) * GROUP",
      "kvHead * heads",
      { match: "80/2 heads|40/1 heads" },
    ],
    [
      "attention: heads of the neighbour written",
      "min(GROUP, kvHead * heads + heads - firstHead)",
      "GROUP",
      { match: "80/2 heads|40/1 heads" },
    ],
    [
      "attention: hidden keys weigh",
      "select(exp(s - highest), 0.0, s <= LOWEST)",
      "exp(s - highest)",
      { match: "sees nothing" },
    ],
    ["attention: nothing seen is 0 / 0", "max(l, 1e-30)", "l", { match: "sees nothing" }],
    ["attention: values read from the keys", "params.valueOffset + entryOffset", "entryOffset"],
    ["attention: last key of a tile", "t < keys; t++", "t + 1u < keys; t++"],
    ["attention: partial result divided", "select(max(l, 1e-30), 1.0, EMIT)", "max(l, 1e-30)", { match: "unfinished" }],
    [
      "attention: emitted at the group's head",
      "emit(m * HEADS + firstHead + lane,",
      "emit(m * HEADS + lane,",
      { match: "unfinished" },
    ],
    ["attention: rows past the batch written", "if (m >= batch.rows) { return; }", ""],
  ],
);

const copy = [
  ...faultsOf(
    "shaders/copy_page.wgsl",
    ["tests/kernels/copy-page"],
    [
      ["copy: keys only", "  pool[word.y + params.valueOffset] = pool[word.x + params.valueOffset];\n", ""],
      ["copy: one copy too many", "id.y >= batch.copies", "id.y > batch.copies"],
    ],
  ),
  ...faultsOf(
    "src/kernels/attention.ts",
    ["tests/kernels/copy-page"],
    [["copy: f16 values at an element, not a word", "valueOffset : valueOffset / 2", "valueOffset : valueOffset"]],
  ),
];

const sampling = [
  ...faultsOf(
    "shaders/sample.wgsl",
    ["tests/kernels/sample"],
    [
      [
        "sample: first barrier dropped",
        "  best[lane] = mine;\n  workgroupBarrier();",
        "  best[lane] = mine;",
        anyDriver,
      ],
      [
        "sample: barrier of the reduction dropped",
        "best[lane + step]); }\n    workgroupBarrier();",
        "best[lane + step]); }",
        anyDriver,
      ],
      ["sample: seed unused", "gumbel(options[slot].seed,", "gumbel(0u,"],
      ["sample: counter unused", "states[slot].counter, token)", "0u, token)"],
      ["sample: token unused", "states[slot].counter, token)", "states[slot].counter, i)"],
      ["sample: temperature inverted", "1.0 / max(temperature, 1e-6)", "temperature"],
      ["sample: tiny temperature overflows", "max(temperature, 1e-6)", "temperature"],
      ["sample: mask ignored", "if (sample.masked == 1u)", "if (false)"],
      ["sample: mask row one word short", "(VOCAB + 31u) / 32u", "VOCAB / 32u"],
      ["sample: mask always applies", "if (sample.masked == 1u)", "if (true)"],
      ["sample: infinities drawn", "!finite || ", ""],
      ["sample: sum not rescaled", "mine.sum * exp(mine.top - top)", "mine.sum"],
      ["sample: greedy adds noise", "if (!greedy)", "if (true)"],
      ["sample: last of equals", "if (key > mine.key)", "if (key >= mine.key)"],
      ["sample: samples past the batch", "if (s >= batch.samples) { return; }", ""],
    ],
  ),
  ...faultsOf(
    "shaders/fragments/partial_merge.wgsl",
    ["tests/kernels/sample"],
    [
      ["merge: higher token of equals", "b.token < a.token", "b.token > a.token"],
      ["merge: sums not rescaled", "a.sum * exp(a.top - top) + b.sum * exp(b.top - top)", "a.sum + b.sum"],
    ],
  ),
  ...faultsOf(
    "shaders/fragments/random.wgsl",
    ["tests/kernels/sample"],
    [
      ["random: draw and seed swapped", "vec4u(token, draw, seed,", "vec4u(token, seed, draw,"],
      ["random: not −ln", "return -log(e);", "return log(e);"],
      ["random: second round dropped", "  v ^= v >> vec4u(16u);\n", ""],
      ["random: small variates", "u < 0.0078125", "u < 0.5"],
    ],
  ),
  ...faultsOf(
    "shaders/draw.wgsl",
    ["tests/kernels/sample"],
    [
      ["draw: first barrier dropped", "  best[lane] = mine;\n  workgroupBarrier();", "  best[lane] = mine;", anyDriver],
      ["draw: forced token ignored", "select(forced, best[0].token, forced == NO_TOKEN)", "best[0].token"],
      ["draw: draws not counted", "    states[slot].counter += 1u;\n", ""],
      ["draw: state keeps its token", "states[slot].token = select(token, 0u, token == NO_TOKEN);", ""],
      ["draw: NO_TOKEN in the state", "select(token, 0u, token == NO_TOKEN)", "token"],
      ["draw: chunks past the 64th lane's first", "i < CHUNKS; i += LANES", "i < min(CHUNKS, 40u); i += LANES"],
    ],
  ),
  ...faultsOf(
    "shaders/score.wgsl",
    ["tests/kernels/score"],
    [
      [
        "score: barrier after the maxima",
        "  tops[lane] = top;\n  workgroupBarrier();",
        "  tops[lane] = top;",
        anyDriver,
      ],
      ["score: barrier after the sums", "  sums[lane] = sum;\n  workgroupBarrier();", "  sums[lane] = sum;", anyDriver],
      ["score: maximum of a lane only", "  top = tops[0];\n", ""],
      ["score: maximum not taken off", "samples[s].token] - top - log", "samples[s].token] - log"],
      ["score: first token scored", "logits[s * VOCAB + samples[s].token]", "logits[s * VOCAB]"],
    ],
  ),
  ...faultsOf(
    "shaders/advance.wgsl",
    ["tests/kernels/advance"],
    [
      [
        "advance: accepted ignored",
        "select(segment.count, states[segment.slot].accepted, segment.accept == 1u)",
        "segment.count",
      ],
      ["advance: position stays", "  states[segment.slot].position += grown;\n", ""],
      ["advance: segments past the batch", "id.x >= batch.segments", "id.x > batch.segments"],
    ],
  ),
];

const repack = [
  ...faultsOf(
    "shaders/repack.wgsl",
    ["tests/kernels/repack"],
    [
      ["repack: bf16 halfway up", "bits + 0x7fffu + ((bits >> 16u) & 1u)", "bits + 0x8000u"],
      ["repack: NaN becomes infinite", "if ((bits & 0x7fffffffu) > 0x7f800000u) { return (bits >> 16u) | 0x40u; }", ""],
      ["repack: rows not spread", "params.firstRow + row * params.rowStep", "params.firstRow + row"],
      ["repack: first row ignored", "params.firstRow + row * params.rowStep", "row * params.rowStep"],
      ["repack: grid not folded", "id.z * groups.y + id.y", "id.y"],
    ],
  ),
  ...faultsOf(
    "shaders/fragments/staged.wgsl",
    ["tests/kernels/repack"],
    [
      ["staged: padding not zero", "if (column >= params.columns) { return 0u; }", ""],
      ["staged: halves swapped", "16u * (i & 1u)", "16u * (1u - (i & 1u))"],
      ["staged: f16 halfway up", "magnitude + 0xfffu + ((magnitude >> 13u) & 1u)", "magnitude + 0x1000u"],
      ["staged: f16 truncated", "magnitude + 0xfffu + ((magnitude >> 13u) & 1u)", "magnitude"],
      ["staged: subnormals flushed", "if (exponent < 102u)", "if (exponent < 113u)"],
      ["staged: subnormals not rounded to even", "rest == middle && (kept & 1u) == 1u", "rest == middle"],
      ["staged: subnormals one bit off", "countLeadingZeros(fraction) - 21u", "countLeadingZeros(fraction) - 22u"],
    ],
  ),
  ...faultsOf(
    "shaders/quantise.wgsl",
    ["tests/kernels/repack"],
    [
      ["quantise: guess not lowered", "i > 0.0 && magnitude < (i - 0.5) * scale", "false"],
      ["quantise: sign dropped", "select(i32(i), -i32(i), (bits & 0x80000000u) != 0u)", "i32(i)"],
      [
        "quantise: scale not rounded",
        "let scale = bitcast<f32>(widenF16(scaleBits));",
        "let scale = bitcast<f32>(top) / LARGEST;",
      ],
      ["quantise: scale may be infinite", ", 0x7bffu)", ", 0x7c00u)"],
      ["quantise: nibbles in order", "8u * (i & 3u) + 4u * (i / 4u)", "4u * i"],
      ["quantise: second scale over the first", "start) << 16u; }", "start); }"],
      ["quantise: last group of an odd count", "2u * id.x + 1u < count", "true"],
    ],
  ),
];

const host = [
  ...faultsOf(
    "src/kernels/graph.ts",
    ["tests/kernels/graph"],
    [
      ["graph: a buffer freed by its last reader", "lastUse.get(o.id)! < i", "lastUse.get(o.id)! <= i"],
      ["graph: outputs not kept", "lastUse.set(tensor.id, Infinity)", "lastUse.set(tensor.id, 0)"],
    ],
  ),
  ...faultsOf(
    "src/kernels/batch.ts",
    ["tests/kernels/batch"],
    [
      ["batch: row's segment missing", "words[at + 4] = segment;", "words[at + 4] = 0;"],
      ["batch: first row of a segment", "words.set([slot, row, count,", "words.set([slot, 0, count,"],
    ],
  ),
  ...faultsOf(
    "src/kernels/attention.ts",
    ["tests/kernels/variants"],
    [
      [
        "attention: past the workgroup's memory",
        "(WORKGROUP_BYTES - padding) / perHead",
        "WORKGROUP_BYTES / perHead",
        pure,
      ],
    ],
  ),
  ...faultsOf(
    "src/models/rope.ts",
    ["tests/models/rope"],
    [["rope tables: far scaled twice", "table(NEAR, 1, 1)", "table(NEAR, 1, scale)", pure]],
  ),
  ...faultsOf(
    "src/base/half.ts",
    ["tests/base/half"],
    [["half: bf16 truncated", "bits + 0x7fff + ((bits >>> 16) & 1)", "bits", pure]],
  ),
];

const quantised = [
  ...faultsOf(
    "shaders/quantise.wgsl",
    ["tests/engine/quantised"],
    [
      [
        "quantise: scales of a pair swapped",
        "scales |= quantiseGroup(row, 2u * id.x + 1u, start) << 16u",
        "scales = (scales << 16u) | quantiseGroup(row, 2u * id.x + 1u, start)",
      ],
      ["quantise: last column of a group not seen", "i < PER_GROUP; i++) { top", "i + 1u < PER_GROUP; i++) { top"],
      ["quantise: rounds towards zero", "floor(magnitude / scale + 0.5)", "max(0.0, floor(magnitude / scale) - 1.0)"],
      ["quantise: rows in turn ignored", "params.firstRow + row * params.rowStep", "params.firstRow + row"],
      ["quantise: sign lost", "select(i32(i), -i32(i),", "select(i32(i), i32(i),"],
    ],
  ),
  ...faultsOf(
    "shaders/fragments/weights_q4.wgsl",
    ["tests/engine/quantised"],
    [
      ["q4: zero is not 8", "- 8.0", "- 7.0"],
      ["q4: nibbles of a byte swapped", "4u * (k4 & 1u))", "4u * (1u - (k4 & 1u)))"],
    ],
  ),
  ...faultsOf(
    "shaders/fragments/weights_q8.wgsl",
    ["tests/engine/quantised"],
    [
      ["q8: unsigned", "unpack4xI8", "unpack4xU8"],
      ["q8: scale of the neighbour", "k4 / 8u)", "k4 / 4u)"],
    ],
  ),
  ...faultsOf(
    "shaders/fragments/group_scale.wgsl",
    ["tests/engine/quantised"],
    [["group scale: always the first of its word", "select(pair.x, pair.y, (group & 1u) == 1u)", "pair.x"]],
  ),
];

/** @type {readonly Fault[]} */
export const faults = [
  ...linear,
  ...weights,
  ...rope,
  ...cache,
  ...attention,
  ...copy,
  ...sampling,
  ...repack,
  ...quantised,
  ...host,
];
