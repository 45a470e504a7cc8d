import { faultsOf, pure } from "../fault.mjs";

/** @param {string} match @returns {{ lanes: string[], match: string }} */
const by = (match) => ({ ...pure, match });
const anything = by("everybody has what he would have");
const again = by("a prefix hit gives what a miss does");

/** Pages that fall out of a window, and the pool of their own that windowed layers have beside others. */
export const windows = [
  ...faultsOf(
    "src/engine/pages.ts",
    ["tests/engine/scheduler.property"],
    [["window: a page that was given away, still in its node", "node.pages[this.number] = undefined;", "", anything]],
  ),
  ...faultsOf(
    "src/engine/paging.ts",
    ["tests/engine/scheduler.property", "tests/engine/windows.test"],
    [
      ["window: the first entry in sight is let go", "entry + 1 - window", "entry + 2 - window", anything],
      [
        "window: nothing is kept for who goes on from a full page",
        "Math.floor(Math.max(0, entries - 1) / pageSize) * pageSize",
        "entries",
        again,
      ],
      [
        "window: a page too few for window and chunk",
        "Math.ceil(rows / pageSize) + 1;",
        "Math.ceil(rows / pageSize);",
        by("never more at a time"),
      ],
      ["window: what falls out is never let go", "if (behind.length > 0) pages.release(behind);", "", anything],
      [
        "window: a hit past a gap",
        "return last < firstSeen(length * this.pageSize, window, this.pageSize);",
        "return last < length;",
        anything,
      ],
      [
        "window: a hit asks for all pages",
        "return last < firstSeen(length * this.pageSize, window, this.pageSize);",
        "return last < 0;",
        by("ends a hit"),
      ],
      [
        "window: a hit's pages from the first place",
        "table.first = firstSeen(entries, window, this.pageSize);\n      table.pages",
        "table.first = 0;\n      table.pages",
        anything,
      ],
      ["window: a fork begins at the first place", "to.first = from.first;", "", anything],
      ["window: a request may take the whole pool", "n * Math.min(whole, most)", "n * whole", by("a small pool holds")],
      ["window: the chain of a sequence is not held", "    this.prefix.hold(end);\n", "", anything],
    ],
  ),
  ...faultsOf(
    "src/engine/step.ts",
    ["tests/engine/scheduler.property"],
    [
      [
        "window: a table written from a place that was let go",
        "Math.max(table.first, table.tabled)",
        "table.tabled",
        anything,
      ],
      ["window: both copies in one pool", "(this.copies[pool] ??= [])", "(this.copies[0] ??= [])", anything],
    ],
  ),
  ...faultsOf(
    "src/engine/cache.ts",
    ["tests/engine/windows"],
    [
      [
        "window: as long as the context, and still a window",
        "window < contextTokens ?",
        "window <= contextTokens ?",
        by("one for each kind"),
      ],
      ["window: the shortest of them counts", "Math.max(...finite)", "Math.min(...finite)", by("one for each kind")],
      [
        "window: every layer in the first pool",
        "pools.length > 1 &&",
        "pools.length > 2 &&",
        { match: "takes less memory" },
      ],
    ].map((row) => /** @type {import("../fault.mjs").Row} */ (row)),
  ),
  ...faultsOf(
    "src/kernels/rope.ts",
    ["tests/engine/windows.node"],
    [
      [
        "window: entries written by the other table",
        "paged(graph, cache.layers[layer])",
        "paged(graph)",
        { match: "gemma2.*chunks of 8" },
      ],
    ],
  ),
  ...faultsOf(
    "src/kernels/attention-call.ts",
    ["tests/engine/windows.node"],
    [
      [
        "window: entries read by the other table",
        "paged(graph, cache.layers[layer])",
        "paged(graph)",
        { match: "gemma2.*chunks of 8" },
      ],
    ],
  ),
  ...faultsOf(
    "src/kernels/pages.ts",
    ["tests/engine/windows.node"],
    [
      [
        "window: the other pool's pages are copied",
        'ofPool("windowed" in layer ? layer : {}, copies, windowCopies)',
        "windowCopies ? copies : copies",
        { match: "gemma2.*chunks of 8" },
      ],
    ],
  ),
  ...faultsOf(
    "src/engine/runner.ts",
    ["tests/engine/windows.node"],
    [
      [
        "window: both pools write one table",
        "pool > 0 ? batch.windowTable! : batch.pageTable",
        "batch.pageTable",
        { match: "gemma2.*chunks of 8" },
      ],
    ],
  ),
  ...faultsOf(
    "src/kernels/batch.ts",
    ["tests/engine/windows.node"],
    [
      [
        "window: copies of the second pool are not sent",
        "if (batch.windowCopies) this.writeCopies",
        "if (!batch) this.writeCopies",
        { match: "gemma2.*chunks of 8" },
      ],
    ],
  ),
];
