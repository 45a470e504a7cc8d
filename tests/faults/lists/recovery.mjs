import { faultsOf, pure } from "../fault.mjs";

/** @param {string} match @returns {{ lanes: string[], match: string }} */
const by = (match) => ({ ...pure, match });
const anyMoment = by("lost at any moment");

export const recovery = [
  ...faultsOf(
    "src/engine/scheduler.ts",
    ["tests/engine/scheduler.property", "tests/engine/recovery.test"],
    [
      [
        "recovery: the prefix index of the lost cache",
        "for (const { pages } of this.pools) pages.forget();",
        "",
        anyMoment,
      ],
      [
        "recovery: a reading under way for ever",
        "    this.readUnderWay = false;\n    const over",
        "    const over",
        anyMoment,
      ],
      [
        "recovery: nobody hears of an end",
        "for (const sequence of over) this.settle(sequence);",
        "",
        by("ends at once"),
      ],
    ],
  ),
  ...faultsOf(
    "src/engine/residents.ts",
    ["tests/engine/scheduler.property", "tests/engine/recovery.test"],
    [
      [
        "recovery: steps under way for ever",
        "for (const sequence of group.sequences) sequence.inFlight = 0;",
        "",
        anyMoment,
      ],
      [
        "recovery: forked where no prompt is",
        "if (group.sequences.every((s) => s.received.length === 0)) group.forked = group.request.n === 1;",
        "",
        by("forks again"),
      ],
    ],
  ),
  ...faultsOf(
    "src/engine/recovery.ts",
    ["tests/engine/recovery.test"],
    [
      ["recovery: of what was destroyed", ' && error.reason !== "destroyed"', "", pure],
      ["recovery: without end", "this.losses.length > MOST_LOSSES", "this.losses.length > 99", pure],
      ["recovery: losses never forgiven", "now - this.losses[0]! > WINDOW_MS", "now < 0", pure],
      ["recovery: gives up after one more loss", "if (!Recovery.isMendable(error as Error)) throw", "throw", pure],
    ],
  ),
  ...faultsOf(
    "src/engine/sequence.ts",
    ["tests/engine/recovery.node"],
    [
      [
        "recovery: tokens received are forgotten",
        "this.prefillEnd = this.goal;\n  }\n}",
        "this.prefillEnd = this.group.ids.length;\n  }\n}",
        { match: "tokens are decoded" },
      ],
    ],
  ),
  ...faultsOf(
    "src/engine/core.ts",
    ["tests/engine/recovery.node"],
    [
      ["recovery: the lost device's buffers are kept", "lost.close();", "", { match: "nothing runs" }],
      ["recovery: not given up on dispose", "this.recovery?.abandon();", "", { match: "disposed of meanwhile" }],
      [
        "recovery: what was sent before is forgotten",
        "this.sent.submits += lost.counters.submits;",
        "",
        { match: "nothing runs|tokens are decoded" },
      ],
      [
        "recovery: nobody is heard of the new device's end",
        "      this.watch(assembly.gpu);\n",
        "",
        { match: "first step is submitted|chunk of a prompt" },
      ],
      [
        "recovery: the second life does not begin",
        "      this.watch(assembly.gpu);\n      this.start();",
        "      this.watch(assembly.gpu);",
        { match: "first step" },
      ],
    ],
  ),
  ...faultsOf(
    "src/engine/core.ts",
    ["tests/engine/abort"],
    [
      [
        "abort: nobody hears of it",
        "this.scheduler.cancel(request, reason, choice);",
        "",
        { match: "it decodes|a slot" },
      ],
    ],
  ),
  ...faultsOf(
    "src/gpu/arena.ts",
    ["tests/engine/faults.gpu", "tests/gpu/arena"],
    [
      ["memory: the driver's refusal is not heard", "buffer && !refused", "buffer", { match: "any allocation" }],
      ["memory: what was refused is counted", "if (buffer) this.free(buffer);", "", { match: "driver's word" }],
    ],
  ),
  ...faultsOf(
    "src/engine/load.ts",
    ["tests/engine/recovery.node"],
    [["recovery: of a device that was given", "if (device) return undefined;", "", { match: "caller gave" }]],
  ),
  ...faultsOf(
    "src/engine/assembly.ts",
    ["tests/engine/recovery.node"],
    [
      [
        "recovery: fewer pages than were promised",
        "least: like.pages[k]!",
        "least: pool.least",
        { match: "fewer pages" },
      ],
      [
        "recovery: other weights than those that were loaded",
        "weights.digest.value !== like.digest",
        "false",
        { match: "not those that were loaded" },
      ],
      ["recovery: a device left open by a failed load", "    gpu?.close();\n", "", { match: "by a load|no room" }],
    ],
  ),
];
