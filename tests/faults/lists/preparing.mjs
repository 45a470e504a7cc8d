import { faultsOf } from "../fault.mjs";

const tests = ["tests/engine/preparing"];
const by = (/** @type {string} */ match) => ({ match });
const lost = by("is replaced, and who waited");

export const preparing = [
  ...faultsOf("src/engine/programs.ts", tests, [
    ["preparing: everything at once", "kernels.filter((k) => !now.has(k))", "[]", by("compiled once")],
    ["preparing: a long cache is not seen", "longest > this.split && !isRead(head)", "false", by("compiled once")],
    ["preparing: long one entry too early", "longest > this.split", "longest >= this.split", by("last entry")],
    ["preparing: an answer does not lengthen", "ids.length + task.maxTokens", "ids.length", by("compiled once")],
    [
      "preparing: filters as if they were plain",
      'needsProcessors(task.sampling) ? "process" : "sample"',
      '"sample"',
      by("compiled once"),
    ],
    [
      "preparing: what failed counts as there",
      "    await this.pipelines.compile(undefined, this.kernels(wanted));\n    this.ready = wanted;",
      "    this.ready = wanted;\n    await this.pipelines.compile(undefined, this.kernels(wanted));",
      by("may fail"),
    ],
  ]),
  ...faultsOf("src/engine/core.ts", tests, [
    [
      "preparing: everybody waits",
      "programs.isReadyFor(needs)) return this.admit(request);",
      "programs.isReadyFor(needs) && this.preparing.size === 0) return this.admit(request);",
      by("let others go on"),
    ],
    [
      "preparing: nobody waits",
      "if (this.assembly.runner.programs.isReadyFor(needs)) return",
      "return",
      by("compiled once"),
    ],
    [
      "preparing: an abort is not heard",
      "if (this.preparing.delete(request)) this.admit(request); // to be over",
      "// to be over",
      by("hold nobody"),
    ],
    [
      "preparing: the end is not heard",
      "for (const { listener } of this.preparing) listener.onError(error);",
      "",
      by("hold nobody"),
    ],
    ["preparing: another device knows of nothing", "await this.prepareLike(runner.programs.needs);", "", lost],
    ["preparing: waiting, but not counted", "return this.preparing.size;", "return 0;", by("let others go on")],
  ]),
];
