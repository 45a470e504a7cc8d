import { faultsOf, pure } from "../fault.mjs";

/** @param {string} match @returns {{ lanes: string[], match: string }} */
const by = (match) => ({ ...pure, match });
const restored = by("restored in another world");
const gpu = (/** @type {string} */ match) => ({ match });

/** Sessions saved and restored, and what a caller says between two tokens. */
export const sessions = [
  ...faultsOf(
    "src/engine/transfers.ts",
    ["tests/engine/scheduler.property"],
    [
      [
        "session: restored pages are not found",
        "    this.paging.index(sequence);\n    return new Draft().move",
        "    return new Draft().move",
        restored,
      ],
      [
        "session: every other page is left out",
        "sequence.moved = place + 1;\n    return",
        "sequence.moved = place + 2;\n    return",
        restored,
      ],
      ["session: the last page is left out", "return moved < Math.ceil(", "return moved < Math.floor(", restored],
      ["session: what a hit left is restored again", "sequence.moved = sequence.indexed;", "", restored],
    ],
  ),
  ...faultsOf(
    "src/engine/transfers.ts",
    ["tests/engine/windows.test"],
    [["session: what lies behind a window stays", "this.paging.trim(sequence); //", "//", pure]],
  ),
  ...faultsOf(
    "src/engine/paging.ts",
    ["tests/engine/scheduler.property"],
    [["session: a table with a gap", "list.length > 0 && table.end < place", "false", restored]],
  ),
  ...faultsOf(
    "src/engine/sequence.ts",
    ["tests/engine/scheduler.property"],
    [
      [
        "session: read on where it was before it was preempted",
        "this.hit = this.moved = 0;",
        "this.hit = 0;",
        by("everybody has what"),
      ],
    ],
  ),
  ...faultsOf(
    "src/engine/runner.ts",
    ["tests/engine/sessions.node", "tests/engine/masks"],
    [
      ["session: values read where keys are", "start + page * pageBytes", "page * pageBytes", gpu("f32 pages, greedy")],
      [
        "session: drawn ids count as the prompt's",
        "ids.length - sampling.drawn",
        "ids.length",
        gpu("an answer in parts"),
      ],
    ],
  ),
  ...faultsOf(
    "src/engine/masks.ts",
    ["tests/engine/masks"],
    [["session: bits of a mask in half a word", "1 << (id & 31)", "1 << (id & 15)", gpu("are all that is drawn")]],
  ),
  ...faultsOf(
    "src/engine/scheduler.ts",
    ["tests/engine/masks"],
    [
      [
        "session: the first mask for every draw",
        "if (!sequence.finished) this.maskNext(sequence);",
        "",
        gpu("are all that is drawn"),
      ],
    ],
  ),
  ...faultsOf(
    "src/engine/page-bytes.ts",
    ["tests/engine/sessions.node"],
    [
      [
        "session: scales read where words are counted as bytes",
        "scaleOffset * 4",
        "scaleOffset",
        gpu("int8 pages, greedy"),
      ],
    ],
  ),
  ...faultsOf(
    "src/engine/step.ts",
    ["tests/engine/masks"],
    [
      [
        "session: draws begin anew",
        "counter: drawn + received.length",
        "counter: received.length",
        gpu("an answer in parts"),
      ],
      ["session: a draw without its mask", "...(mask && { masked: true })", "", gpu("are all that is drawn")],
    ],
  ),
  ...faultsOf(
    "src/engine/saved.ts",
    ["tests/engine/sessions.node"],
    [
      [
        "session: heads one page apart in the file",
        "(head * (end - base) + first - base)",
        "(head * pageSize + first - base)",
        gpu("another size"),
      ],
      [
        "session: damage goes unnoticed",
        "(await sha256(file)) !== new TextDecoder().decode(given)",
        "false",
        gpu("wherever they are damaged"),
      ],
      [
        "session: another model's",
        "if (metadata[name] !== identity[name])",
        'if (name !== "model" && metadata[name] !== identity[name])',
        gpu("with the reason"),
      ],
      [
        "session: other positions",
        "if (regime >= 0) return regime;",
        "return Math.max(0, regime);",
        gpu("with the reason"),
      ],
      [
        "session: longer than the context",
        "if (ids.length > limits.contextTokens) throw",
        "if (ids.length > 1e9) throw",
        gpu("longer than this context"),
      ],
      [
        "session: a windowed layer from the first token on",
        "const base = firsts.get(plane.pool)! * pageSize;",
        "const base = 0;",
        gpu("gemma2"),
      ],
    ],
  ),
  ...faultsOf(
    "src/engine/saved.ts",
    ["tests/engine/saved.test"],
    [
      ["session: pages of another size without their window", "available <= firstSeen(", "0 <= firstSeen(", pure],
      [
        "session: read from the caller's bytes",
        "const file = new Uint8Array(bytes);",
        "const file = bytes as Uint8Array<ArrayBuffer>;",
        pure,
      ],
      ["session: tensors of another width", "width === plane.width", "true", pure],
    ],
  ),
  ...faultsOf(
    "src/engine/saving.ts",
    ["tests/engine/sessions.node"],
    [
      [
        "session: one salt for all",
        "ids: ids.slice(0, cachedTokens), salt, regime, signal",
        'ids: ids.slice(0, cachedTokens), salt: "", regime, signal',
        gpu("of its salt alone"),
      ],
    ],
  ),
  ...faultsOf(
    "src/weights/digest.ts",
    ["tests/weights/digest"],
    [
      ["session: weights are not looked at", "this.mix(seed, at, bytes[at - offset]!)", "this.mix(seed, at, 0)", pure],
      ["session: the order of bytes does not count", "scramble(seed ^ at)", "scramble(seed)", pure],
    ],
  ),
];
