import { faultsOf, anyDriver } from "../fault.mjs";

/** @param {string} match @returns {{ match: string }} */
const by = (match) => ({ match });

export const sampling = [
  ...faultsOf(
    "shaders/sample.wgsl",
    ["tests/kernels/sample.gpu"],
    [
      ["sample: seed unused", "gumbel(options[slot].seed,", "gumbel(0u,"],
      ["sample: counter unused", "states[slot].counter, token)", "0u, token)"],
      ["sample: token unused", "states[slot].counter, token)", "states[slot].counter, i)"],
      ["sample: infinities drawn", " && isFinite(scaled)", "", by("finite")],
      ["sample: greedy adds noise", "if (!greedy)", "if (true)"],
      ["sample: noise is not added", "if (!greedy)", "if (false)"],
      ["sample: not scaled", "logit * scale", "logit"],
      ["sample: samples past the batch", "if (s >= batch.samples) { return; }", ""],
      ["sample: chunk of the first only", "group.x * CHUNK + i", "i"],
      ["sample: last logit missed", "token >= params.vocab", "token >= params.vocab - 1u"],
    ],
  ),
  ...faultsOf(
    "shaders/fragments/sample_plain.wgsl",
    ["tests/kernels/sample.gpu"],
    [
      ["sample: mask ignored", "samples[s].masked == 1u && ", "false && "],
      ["sample: mask always applies", "samples[s].masked == 1u && ", ""],
      ["sample: mask row one word short", "(params.vocab + 31u) / 32u", "params.vocab / 32u"],
    ],
  ),
  ...faultsOf(
    "shaders/fragments/sample_filtered.wgsl",
    ["tests/kernels/sample-filters"],
    [
      ["filtered: cut ignored", "near && isKept(cut, rankOf(x), token)", "near", by("the k largest of 5")],
      ["filtered: min-p ignored", "near && isKept", "isKept", by("min-p")],
      [
        "filtered: min-p at temperature 1",
        "(x - cut.top) * inverseTemperature(temperature)",
        "(x - cut.top)",
        by("min-p"),
      ],
      ["filtered: greedy rows filtered", "temperature <= 0.0 || ", "", by("greedy")],
    ],
  ),
  ...faultsOf(
    "shaders/fragments/sampling_options.wgsl",
    ["tests/kernels/sample.gpu"],
    [
      ["options: temperature inverted", "1.0 / max(temperature, 1e-6)", "temperature"],
      ["options: tiny temperature overflows", "max(temperature, 1e-6)", "temperature", by("almost 0")],
      ["options: infinity is finite", "0x7f800000u) != 0x7f800000u", "0x7f800000u) != 0u", by("finite")],
      ["options: mask bits in reverse", "word >> (token % 32u)", "word >> (31u - token % 32u)", by("mask")],
    ],
  ),
  ...faultsOf(
    "shaders/fragments/partial_merge.wgsl",
    ["tests/kernels/sample.gpu"],
    [
      ["merge: higher token of equals", "b.token < a.token", "b.token > a.token"],
      ["merge: sums not rescaled", "a.sum * exp(a.top - top) + b.sum * exp(b.top - top)", "a.sum + b.sum", by("sums")],
      ["include: last of equals", "let better = key > a.key", "let better = key >= a.key"],
      ["include: sum not rescaled", "a.sum * exp(a.top - top) + exp(x - top)", "a.sum + exp(x - top)", by("sums")],
    ],
  ),
  ...faultsOf(
    "shaders/fragments/reduce_workgroup.wgsl",
    ["tests/kernels/sample-draws"],
    [
      ["reduce: one step too few", "step < LANES", "step < LANES / 2u", by("by subgroups")],
      ["reduce: a neighbour twice", "best[lane + step]", "best[lane + step / 2u]", by("by subgroups")],
      ["reduce: another tree", "lane % (2u * step) == 0u", "lane < LANES / (2u * step)", by("by subgroups")],
    ],
  ),
  ...faultsOf(
    "shaders/fragments/reduce_subgroups.wgsl",
    ["tests/kernels/sample-draws"],
    [
      ["reduce by subgroups: barrier dropped", "  workgroupBarrier();\n", "", { ...anyDriver, ...by("by subgroups") }],
      ["reduce by subgroups: one size assumed", "subgroupAdd(1u);", "32u;", by("by subgroups")],
      ["reduce by subgroups: token of its own", "subgroupShuffleXor(all.token, step)", "all.token", by("by subgroups")],
      [
        "reduce by subgroups: others left out",
        "step < LANES; step *= 2u) {\n      for",
        "step < size; step *= 2u) {\n      for",
        by("by subgroups"),
      ],
    ],
  ),
  ...faultsOf(
    "shaders/fragments/random.wgsl",
    ["tests/kernels/sample.gpu"],
    [
      ["random: draw and seed swapped", "vec4u(token, draw, seed,", "vec4u(token, seed, draw,"],
      ["random: not −ln", "return -log(e);", "return log(e);"],
      ["random: second round dropped", "  v ^= v >> vec4u(16u);\n", ""],
      ["random: small variates", "u < 0.0078125", "u < 0.5"],
    ],
  ),
  ...faultsOf(
    "shaders/draw.wgsl",
    ["tests/kernels/sample.gpu"],
    [
      ["draw: forced token ignored", "select(forced, all.token, forced == NO_TOKEN)", "all.token"],
      ["draw: an end is not seen", "select(0u, 1u, isEnd(slot, token))", "0u"],
      ["draw: goes on behind an end", "if (states[slot].ended == 1u) {", "if (false) {"],
      ["draw: draws not counted", "    states[slot].counter += 1u;\n", ""],
      ["draw: state keeps its token", "states[slot].token = select(token, 0u, token == NO_TOKEN);", ""],
      ["draw: NO_TOKEN in the state", "select(token, 0u, token == NO_TOKEN)", "token"],
      ["draw: chunks past the 40th", "i < params.chunks; i += LANES", "i < min(params.chunks, 40u); i += LANES"],
    ],
  ),
  ...faultsOf(
    "shaders/fragments/sampling_options.wgsl",
    ["tests/kernels/sample.gpu"],
    [
      ["ends: four of them", "i < 5u", "i < 4u"],
      ["ends: the first slot's", "options[slot].ends[i]", "options[0].ends[i]"],
      ["ends: NO_TOKEN is one", "found && token != NO_TOKEN", "found"],
    ],
  ),
  ...faultsOf(
    "shaders/fragments/count_drawn.wgsl",
    ["tests/kernels/sample-processors"],
    [
      ["counted: without penalties", "options[slot].penalties == 0u || ", "", by("penalties")],
      ["counted: in another row", "slot * params.vocab + token", "slot + token", by("penalties")],
      ["counted: once only", "+= 1u", "= 1u", by("penalties")],
    ],
  ),
  ...faultsOf(
    "shaders/process.wgsl",
    ["tests/kernels/sample-processors"],
    [
      ["process: repetition divides all", "x > 0.0); }", "true); }", by("penalties")],
      [
        "process: repetition of the prompt forgotten",
        "if (count > 0u)",
        "if ((count & ~IN_PROMPT) > 0u)",
        by("penalties"),
      ],
      ["process: frequency counts the prompt", "count & ~IN_PROMPT", "count", by("penalties")],
      [
        "process: presence for each time",
        "+ options[slot].presence",
        "+ options[slot].presence * f32(drawn)",
        by("penalties"),
      ],
      ["process: bias list one short", "i < biases; i += LANES", "i + 1u < biases; i += LANES", by("bias")],
      [
        "process: bias past the first round",
        "i < biases; i += LANES",
        "i < min(biases, LANES); i += LANES",
        by("bias"),
      ],
      ["process: bias of any chunk", "entry.token / CHUNK == group.x", "true", by("bias")],
      [
        "process: barrier after the bias",
        "    }\n    workgroupBarrier();\n  }\n\n  var mine",
        "    }\n  }\n\n  var mine",
        { ...anyDriver, ...by("bias") },
      ],
      ["process: mask ignored", "if (samples[s].masked == 1u)", "if (false)", by("bias")],
      ["process: infinities stay", "x > LOWEST && isFinite(x)", "true", by("never infinite")],
      ["process: samples past the batch", "if (s >= batch.samples) { return; }", "", by("bias")],
    ],
  ),
  ...faultsOf(
    "shaders/fragments/cut.wgsl",
    ["tests/kernels/sample-filters"],
    [
      ["cut: last of equals dropped", "token <= cut.token", "token < cut.token", by("lower ids")],
      ["cut: all equals kept", "rank == cut.rank && token <= cut.token", "rank == cut.rank", by("lower ids")],
      [
        "cut: negative logits in reverse",
        "select(0x7fffffffu - bits, bits,",
        "select(0x7fffffffu - bits, ~bits | 0x80000000u,",
        by("last bit"),
      ],
      [
        "cut: two zeros",
        "select(bitcast<u32>(x), 0u, bitcast<u32>(x) == 0x80000000u)",
        "bitcast<u32>(x)",
        by("lower ids"),
      ],
      [
        "cut: largest of a negative row",
        "select(0x7fffffffu - rank, rank,",
        "select(0x7fffffffu - rank, ~rank,",
        by("10⁵"),
      ],
    ],
  ),
  ...faultsOf(
    "shaders/filter.wgsl",
    ["tests/kernels/sample-filters"],
    [
      ["filter: histogram not cleared", "    atomicStore(&many[i], 0u);\n", "", by("top-k")],
      ["filter: masses not cleared", "    atomicStore(&low[i], 0u);\n", "", by("top-p")],
      [
        "filter: carry lost",
        "mass.y + select(0u, 1u, before > EVERYTHING - mass.x)",
        "mass.y",
        by("long tail|reach p"),
      ],
      ["filter: a copy is not summed", "copy < COPIES; copy++", "copy < COPIES - 1u; copy++", by("top-k")],
      ["filter: goal missed by one", "!less64(sum, wanted)", "less64(wanted, sum)", by("lower ids")],
      ["filter: digits found are not compared", " & above) != 0u", " & 0u) != 0u", by("top-k")],
      ["filter: token digits of any rank", "(!inRank && rank != found.x)", "false", by("lower ids")],
      ["filter: top-p of everything", "x <= LOWEST || !isKept(cut, rank, token)", "x <= LOWEST", by("what top-k left")],
      ["filter: mass at temperature 1", "exp((x - cut.top) * scale)", "exp(x - cut.top)", by("reach p")],
      ["filter: largest not taken off", "exp((x - cut.top) * scale)", "exp(x * scale)", by("10⁵|reach p")],
      ["filter: rest of the goal", "let rest = sub64(wanted, before);", "let rest = wanted;", by("top-k")],
      ["filter: nothing at p = 0", "{ wanted.x = 1u; }", "{ }", by("p = 0")],
      ["filter: open digits are zeros", "found.x | below, EVERYTHING", "found.x, EVERYTHING", by("top-k")],
      [
        "filter: second filter widens the first",
        "if (!isKept(cut, found.x, found.y)) { return cut; }",
        "",
        by("together"),
      ],
      ["filter: low words lost", "f32(a.y) * 0x1p-12 + f32(a.x) * 0x1p-44", "f32(a.y) * 0x1p-12", by("small rest")],
      [
        "filter: barrier after clearing",
        "  workgroupBarrier();\n  let inRank",
        "  let inRank",
        { ...anyDriver, ...by("top-k") },
      ],
      [
        "filter: barrier after counting",
        "    }\n  }\n  workgroupBarrier();\n}",
        "    }\n  }\n}",
        { ...anyDriver, ...by("top-k") },
      ],
      [
        "filter: barrier of the scan",
        "    if (lane >= step) { sum = add64(sum, upTo[lane - step]); }\n    workgroupBarrier();",
        "    if (lane >= step) { sum = add64(sum, upTo[lane - step]); }",
        { ...anyDriver, ...by("top-k") },
      ],
      [
        "filter: chunks past the first lanes'",
        "i < params.chunks; i += LANES",
        "i < min(params.chunks, 1u); i += LANES",
        by("probable enough"),
      ],
    ],
  ),
  ...faultsOf(
    "shaders/fragments/after.wgsl",
    ["tests/kernels/sample-logprobs"],
    [
      ["ranked: higher id of equals", "token < found.token", "token > found.token", by("equals by id")],
      [
        "ranked: equals skipped",
        "x < last.key || (x == last.key && token > last.token)",
        "x < last.key",
        by("equals by id"),
      ],
    ],
  ),
  ...faultsOf(
    "shaders/rank.wgsl",
    ["tests/kernels/sample-logprobs"],
    [
      ["rank: one too few", "n < wanted; n++", "n + 1u < wanted; n++", by("n best of")],
      ["rank: masked tokens ranked", "x > LOWEST && ", "", by("mask allows")],
      ["rank: last chunk too long", "min(CHUNK, params.vocab - first)", "CHUNK", by("n best of")],
      [
        "rank: last one given again",
        "last = workgroupUniformLoad(&best[0]);",
        "_ = workgroupUniformLoad(&best[0]);",
        by("n best of"),
      ],
    ],
  ),
  ...faultsOf(
    "shaders/logprobs.wgsl",
    ["tests/kernels/sample-logprobs"],
    [
      [
        "logprobs: sum of the last chunk",
        "mine = merge(mine, partials[s * params.chunks + i]);",
        "mine = partials[s * params.chunks + i];",
        by("n best of"),
      ],
      [
        "logprobs: largest not taken off",
        "select(LOWEST, all.key - whole.top - logSum,",
        "select(LOWEST, all.key - logSum,",
        by("n best of"),
      ],
      ["logprobs: rest not filled", "if (lane >= wanted && lane < MOST)", "if (false)", by("n best of")],
      ["logprobs: rest past the end", "lane < MOST)", "lane <= MOST)", by("n best of")],
      ["logprobs: chunk's list by what is wanted", "+ i / wanted) * MOST", "+ i / wanted) * wanted", by("n best of")],
      [
        "logprobs: forced token that is not allowed",
        "select(LOWEST, x - whole.top - logSum, x > LOWEST)",
        "x - whole.top - logSum",
        by("forced"),
      ],
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
      ["score: first token scored", "logits[s * params.vocab + samples[s].token]", "logits[s * params.vocab]"],
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
