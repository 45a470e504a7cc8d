import { faultsOf, pure } from "../fault.mjs";

/** @param {string} match @returns {{ lanes: string[], match: string }} */
const by = (match) => ({ ...pure, match });
const anything = by("everybody has what he would have");

export const engine = [
  ...faultsOf(
    "src/engine/pages.ts",
    ["tests/engine/pages.property"],
    [
      ["engine pages: the first page of a chain let go first", "pages.toReversed()", "pages", pure],
      [
        "engine pages: a page held again still in the line",
        "this.kept.delete(page), `",
        "this.kept.has(page), `",
        pure,
      ],
      ["engine pages: an evicted page still in the index", "this.nodes.delete(page);", "", pure],
      ["engine pages: shared pages counted wrong", "if (holders === 2)", "if (holders === 1)", pure],
      ["engine pages: cached before free", "this.free.length < count", "this.kept.size > 0", pure],
      ["engine pages: nothing is cached", "if (this.nodes.has(page)) this.kept.add(page);\n      else", "", pure],
    ],
  ),
  ...faultsOf(
    "src/engine/prefix.ts",
    ["tests/engine/pages.property"],
    [
      [
        "engine prefix: ids not compared",
        "node.parent === parent && sameIds(node.ids, ids)",
        "node.parent === parent",
        pure,
      ],
      [
        "engine prefix: parents not compared",
        "node.parent === parent && sameIds(node.ids, ids)",
        "sameIds(node.ids, ids)",
        pure,
      ],
      ["engine prefix: hash without its parent", "mix(parent.charCodeAt(i));", "continue;", pure],
      ["engine prefix: hash in one lane", "hex(finish(b + Math.imul(a, 0x85ebca6b)))", '"00000000"', pure],
    ],
  ),
  ...faultsOf(
    "src/engine/paging.ts",
    ["tests/engine/scheduler.property", "tests/engine/sharing"],
    [
      [
        "engine paging: pages known before they are planned",
        "Math.min(sequence.scheduled, sequence.known)",
        "sequence.known",
        anything,
      ],
      [
        "engine paging: unseen tokens indexed",
        "Math.min(sequence.scheduled, sequence.known)",
        "sequence.scheduled",
        by("none past the end"),
      ],
      [
        "engine paging: a second page of the same tokens",
        "page !== undefined && node.pages[k] === undefined",
        "page !== undefined",
        by("two have computed once"),
      ],
      [
        "engine paging: a fork shares the page it writes to",
        "Math.floor(parent.scheduled",
        "Math.ceil(parent.scheduled",
        anything,
      ],
      ["engine paging: a fork's pages held once", "pages.share(shared);", "", anything],
      ["engine paging: a hit held by nobody", "pages.share(table.pages);", "", anything],
      [
        "engine paging: one page too few",
        "const places = Math.ceil(entries / this.pageSize);",
        "const places = Math.floor(entries / this.pageSize);",
        anything,
      ],
    ],
  ),
  ...faultsOf(
    "src/engine/sequence.ts",
    ["tests/engine/scheduler.property", "tests/engine/sharing"],
    [
      ["engine: a hit leaves no row to compute", "this.prefillEnd - 1 :", "this.prefillEnd :", anything],
      ["engine: a hit skips rows that are wanted", ": this.readFrom;", ": this.prefillEnd - 1;", anything],
      ["engine: only the prompt computed again", "this.drawn = this.received.length;", "this.drawn = 0;", anything],
      [
        "engine: two draws of a request that the host steps",
        "(stepwise && this.drawn > this.received.length)",
        "false",
        by("one draw under way"),
      ],
      ["engine: everybody has one priority", "request.priority ?? 0", "0", by("room for a higher priority")],
      ["engine: last come, first served", "a.arrival < b.arrival", "a.arrival > b.arrival", by("first come, first")],
      ["engine: the caller's own list", "[...request.ids]", "request.ids", { match: "changes to his own list" }],
    ].map((row) => /** @type {import("../fault.mjs").Row} */ (row)),
  ).map((fault) => (fault.lanes ? fault : { ...fault, tests: ["tests/engine/batching"] })),
  ...faultsOf(
    "src/engine/step.ts",
    ["tests/engine/scheduler.property"],
    [
      [
        "engine step: draws counted anew",
        "counter: drawn + received.length",
        "counter: drawn",
        by("draws it would have had"),
      ],
      [
        "engine step: a table written from its start",
        "growths.push({ slot, pool, at,",
        "growths.push({ slot, pool, at: 0,",
        anything,
      ],
      [
        "engine step: choices of one seed",
        "(task.sampling.seed + choice) >>> 0",
        "task.sampling.seed",
        by("with their seeds"),
      ],
    ],
  ),
  ...faultsOf(
    "src/engine/residents.ts",
    ["tests/engine/scheduler.property"],
    [
      [
        "engine: preempted while steps are under way",
        "if (group.draining && !group.inFlight) this.requeue(group);",
        "if (group.draining) this.requeue(group);",
        anything,
      ],
      [
        "engine: the preempted one goes last",
        "remove(this.groups, group);\n    insert(this.waiting, group);\n",
        "remove(this.groups, group);\n    this.waiting.push(group);\n",
        by("goes on within"),
      ],
      [
        "engine: nobody is preempted",
        "if (pages || this.returning || last === group) return pages;",
        "return pages;",
        anything,
      ],
      ["engine: a slot is not given back", "this.freeSlots.push(sequence.slot);", "", anything],
      [
        "engine: a later one fits, so it goes first",
        "if (!last || last.priority >= next.priority || this.returning) return;",
        "if (!last || last.priority >= next.priority || this.returning) { this.waiting.push(this.waiting.shift()!); return; }",
        by("first come, first"),
      ],
    ],
  ),
  ...faultsOf(
    "src/engine/scheduler.ts",
    ["tests/engine/scheduler.property"],
    [
      ["engine: a fork without its copy", "draft.copy(sequence, own);", "", anything],
      [
        "engine: pages back while steps are under way",
        "if (sequence.inFlight > 0 || at < 0) return;",
        "if (at < 0) return;",
        anything,
      ],
      [
        "engine: a new leader with the old one's place",
        "for (const other of group.sequences) other.placed = false;",
        "{}",
        by("leaves nothing behind|everybody has"),
      ],
      ["engine: rows delivered twice", "reader.readFrom += step.batch.samples.length;", "", anything],
      ["engine: a hit computed again", "draft.place(sequence, hit);", "draft.place(sequence, 0);", anything],
      [
        "engine: a failure keeps its pages",
        'sequence.finished ??= "abort";\n      this.residents.vacate(sequence);',
        'sequence.finished ??= "abort";',
        by("fails at any moment"),
      ],
      [
        "engine: prompts before talk",
        "if (sequence.prefilling) continue;",
        "if (sequence.prefilling || prompts.length > 0) continue;",
        by("has a row in every step"),
      ],
      [
        "engine: readers only",
        "const [first, second] = this.lastWasRead ? [false, true] : [true, false];",
        "const [first, second] = [true, false];",
        by("goes on within"),
      ],
      ["engine: room for logits never comes back", "if (readsBack(step)) this.readUnderWay = false;", "", anything],
    ],
  ),
  ...faultsOf(
    "src/engine/runner.ts",
    ["tests/engine/batching"],
    [
      [
        "engine runner: a table written from its start",
        "(slot * pagesPerSequence + at) * 8",
        "slot * pagesPerSequence * 8",
      ],
      ["engine runner: draws counted anew", "    state[3] = counter;\n", "", { match: "preempts, computes again" }],
      ["engine runner: a hit at position 0", "    state[1] = length;\n", "", { match: "survives the caller's" }],
      ["engine runner: a fork copies before the prompt is there", "[program, ...copies]", "[...copies, program]"],
    ],
  ),
  ...faultsOf(
    "src/engine/runner.ts",
    ["tests/engine/ends"],
    [["engine runner: the GPU knows no ends", "{ ...sampling, endIds: sequence.group.request.endIds }", "sampling"]],
  ),
];
