import { faultsOf, anyDriver } from "../fault.mjs";

export const sampling = [
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
