import { describe, expect, it } from "vitest";
import { PagePool } from "../../src/engine/pages.ts";
import { GREEDY } from "../../src/engine/sampling.ts";
import type { FinishReason } from "../../src/engine/port.ts";
import { Scheduler, type SchedulerLimits, type Step } from "../../src/engine/scheduler.ts";
import type { Request, Task } from "../../src/engine/sequence.ts";
import { NO_TOKEN } from "../../src/kernels/batch.ts";

const LIMITS: SchedulerLimits = { rows: 16, readRows: 8, slots: 4, pageSize: 4 };
const END = 99;

interface Heard {
  tokens: [choice: number, id: number][];
  finished: Map<number, FinishReason>;
  values: number[];
  errors: Error[];
  done: number;
}

function request(
  length: number,
  task: Partial<Extract<Task, { kind: "generate" }>> | Exclude<Task, { kind: "generate" }> = {},
  n = 1,
  firstId = 0,
): { request: Request; heard: Heard } {
  const heard: Heard = { tokens: [], finished: new Map(), values: [], errors: [], done: 0 };
  const full: Task =
    "kind" in task && task.kind !== "generate"
      ? (task as Task)
      : { kind: "generate", maxTokens: 5, sampling: GREEDY, ...task };
  return {
    heard,
    request: {
      ids: Array.from({ length }, (_, i) => firstId + i),
      task: full,
      n,
      endIds: new Set([END]),
      listener: {
        onToken: (choice, id) => heard.tokens.push([choice, id]),
        onFinish: (choice, reason) => heard.finished.set(choice, reason),
        onRows: (values) => heard.values.push(...values),
        onError: (error) => heard.errors.push(error),
        onDone: () => heard.done++,
      },
    },
  };
}

function make(pages = 64, limits = LIMITS): Scheduler {
  return new Scheduler(limits, new PagePool(pages, 3));
}

/** Results as the GPU would give them: a token for each sample, one value for each scored row. */
function commit(scheduler: Scheduler, step: Step, token = 1): void {
  const count = step.batch.samples.length;
  if (step.head === "sample") scheduler.commit(step, new Uint32Array(count).fill(token), null);
  else if (step.head === "none") scheduler.commit(step, null, null);
  else scheduler.commit(step, null, new Float32Array(count).fill(0.5));
}

/** Runs until nothing is left, `depth` steps under way. Returns the steps. */
function drain(scheduler: Scheduler, depth = 1): Step[] {
  const steps: Step[] = [];
  const underWay: Step[] = [];
  for (;;) {
    const step = underWay.length < depth ? scheduler.plan() : null;
    if (step) {
      steps.push(step);
      underWay.push(step);
    } else if (underWay.length > 0) commit(scheduler, underWay.shift()!);
    else return steps;
  }
}

describe("Scheduler", () => {
  it("prefills, decodes and gives everything back", () => {
    const scheduler = make();
    const { request: r, heard } = request(6);
    scheduler.add(r);
    const steps = drain(scheduler);
    expect(steps.map((s) => s.rows)).toEqual([6, 1, 1, 1, 1]);
    expect(heard.tokens).toHaveLength(5);
    expect(heard.finished.get(0)).toBe("length");
    expect([heard.done, scheduler.pages.used]).toEqual([1, 0]);
  });

  it("cuts a long prompt to the step's rows and samples only at its end", () => {
    const scheduler = make();
    scheduler.add(request(40).request);
    const steps = drain(scheduler);
    expect(steps.slice(0, 3).map((s) => [s.rows, s.head])).toEqual([
      [16, "none"],
      [16, "none"],
      [8, "sample"],
    ]);
  });

  it("puts decode rows before prefill rows, and a long prompt stalls nobody", () => {
    const scheduler = make();
    scheduler.add(request(3, { maxTokens: 8 }).request);
    commit(scheduler, scheduler.plan()!);
    scheduler.add(request(40).request);
    const step = scheduler.plan()!;
    expect(step.batch.segments.map((s) => s.tokens?.length ?? "decode")).toEqual(["decode", 15]);
    expect(step.batch.samples).toHaveLength(1);
  });

  it("never computes past maxTokens, however many steps are under way", () => {
    for (const depth of [1, 2, 3, 8]) {
      const scheduler = make();
      const { request: r, heard } = request(6);
      scheduler.add(r);
      expect(drain(scheduler, depth)).toHaveLength(5);
      expect(heard.tokens).toHaveLength(5);
    }
  });

  it("discards what was computed past the end token, and keeps the pages until those steps are over", () => {
    const scheduler = make();
    const { request: r, heard } = request(2, { maxTokens: 9 });
    scheduler.add(r);
    const steps = [scheduler.plan()!, scheduler.plan()!, scheduler.plan()!];
    commit(scheduler, steps[0]!, END);
    expect([heard.tokens.length, heard.finished.get(0), heard.done]).toEqual([0, "stop", 0]);
    expect(scheduler.pages.used).toBeGreaterThan(0);
    expect(scheduler.plan()).toBeNull();
    commit(scheduler, steps[1]!, 7);
    commit(scheduler, steps[2]!, 7);
    expect([heard.tokens.length, heard.done, scheduler.pages.used]).toEqual([0, 1, 0]);
  });

  it("forks at the prompt's end: full pages shared, the partial one copied", () => {
    const scheduler = make();
    const { request: r, heard } = request(6, {}, 3); // pages of 4: one full, one partial
    scheduler.add(r);
    const first = scheduler.plan()!;
    expect(first.batch.samples.map((s) => s.row)).toEqual([5, 5, 5]);
    expect(new Set(first.batch.samples.map((s) => s.slot)).size).toBe(3);
    expect(first.setups.map((s) => s.length)).toEqual([0, 6, 6]);
    expect(first.setups.map((s) => s.sampling?.seed)).toEqual([0, 1, 2]);
    expect(first.growths.map((g) => g.at)).toEqual([0, 0, 0]);
    const [parent, ...children] = first.growths.map((g) => g.pages);
    for (const pages of children) {
      expect(pages[0]).toBe(parent![0]);
      expect(parent).not.toContain(pages[1]);
    }
    expect(scheduler.pages.shared).toBe(1);
    expect(first.batch.copies).toEqual(children.map((pages) => ({ from: parent![1], to: pages[1] })));
    const second = scheduler.plan()!;
    expect(second.batch.copies).toEqual([]);
    commit(scheduler, first);
    commit(scheduler, second);
    drain(scheduler);
    expect([0, 1, 2].map((c) => heard.tokens.filter(([choice]) => choice === c).length)).toEqual([5, 5, 5]);
    expect([heard.done, scheduler.pages.used, scheduler.pages.shared]).toEqual([1, 0, 0]);
  });

  it("copies nothing when the prompt ends with its page", () => {
    const scheduler = make();
    scheduler.add(request(8, {}, 2).request);
    const step = scheduler.plan()!;
    expect([step.batch.copies, scheduler.pages.shared]).toEqual([[], 2]);
  });

  it("admits in order, when what is known fits, and a page for each who runs", () => {
    const scheduler = make(5);
    const first = request(8, { maxTokens: 5 }); // 2 pages, and soon another
    const second = request(12, { maxTokens: 1 }, 1, 20); // 3 pages
    const third = request(1, { maxTokens: 1 }); // 1 page, but behind the second
    for (const { request: r } of [first, second, third]) scheduler.add(r);
    scheduler.plan();
    expect(scheduler.counts).toMatchObject({ running: 1, waiting: 2 });
  });

  it("serves everybody in the end", () => {
    const scheduler = make(6);
    const all = [5, 9, 1, 17, 3, 8].map((length) => request(length, { maxTokens: 4 }));
    for (const { request: r } of all) scheduler.add(r);
    drain(scheduler, 3);
    expect(all.map(({ heard }) => [heard.tokens.length, heard.done])).toEqual(all.map(() => [4, 1]));
    expect(scheduler.pages.used).toBe(0);
  });

  it("cancels what waits at once, and what runs when its steps are over", () => {
    const scheduler = make(6);
    const running = request(8, { maxTokens: 9 });
    const waiting = request(20, { maxTokens: 4 });
    scheduler.add(running.request);
    scheduler.add(waiting.request);
    const step = scheduler.plan()!;
    scheduler.cancel(waiting.request, "abort");
    expect([waiting.heard.done, waiting.heard.finished.get(0)]).toEqual([1, "abort"]);
    scheduler.cancel(running.request, "abort");
    expect([running.heard.done, scheduler.plan()]).toEqual([0, null]);
    commit(scheduler, step);
    expect([running.heard.done, running.heard.tokens.length, scheduler.pages.used]).toEqual([1, 0, 0]);
    scheduler.cancel(running.request, "abort");
    expect(running.heard.done).toBe(1);
  });

  it("cancels one choice and lets the others go on", () => {
    const scheduler = make();
    const { request: r, heard } = request(6, {}, 2);
    scheduler.add(r);
    commit(scheduler, scheduler.plan()!);
    scheduler.cancel(r, "stop", 0);
    drain(scheduler);
    expect([heard.finished.get(0), heard.finished.get(1)]).toEqual(["stop", "length"]);
    expect(heard.tokens.filter(([choice]) => choice === 1)).toHaveLength(5);
    expect([heard.done, scheduler.pages.used]).toEqual([1, 0]);
  });

  it("reads rows in chunks of its own and takes turns with generation", () => {
    const scheduler = make();
    const reader = request(20, { kind: "logits", from: 7, to: 10 });
    const scored = request(9, { kind: "score" });
    const talker = request(2, { maxTokens: 6 });
    for (const { request: r } of [talker, reader, scored]) scheduler.add(r);
    const steps = drain(scheduler);
    const heads = steps.map((s) => s.head);
    expect(heads.filter((h) => h === "sample")).toHaveLength(6);
    for (const step of steps) expect(new Set(step.sequences.map((s) => s.group.request.task.kind)).size).toBe(1);
    expect(reader.heard.values).toHaveLength(3);
    expect(scored.heard.values).toHaveLength(8);
    const asked = steps.filter((s) => s.head === "score").flatMap((s) => s.batch.samples.map((x) => x.token));
    expect(asked).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect(scheduler.pages.used).toBe(0);
  });

  it("turns logits that are not numbers into an error of that request alone", () => {
    const scheduler = make();
    const { request: r, heard } = request(3);
    scheduler.add(r);
    commit(scheduler, scheduler.plan()!, NO_TOKEN);
    drain(scheduler);
    expect(heard.errors[0]?.message).toMatch(/not finite/);
    expect([heard.tokens.length, scheduler.pages.used]).toEqual([0, 0]);
  });

  it("keeps its books through a random life", () => {
    let state = 12345;
    const random = (below: number): number => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return Math.floor((state / 2 ** 32) * below);
    };
    for (let life = 0; life < 40; life++) {
      const pool = new PagePool(24, life);
      const scheduler = new Scheduler(LIMITS, pool);
      const alive: Request[] = [];
      const underWay: Step[] = [];
      const heards: Heard[] = [];
      for (let i = 0; i < 200; i++) {
        const what = random(10);
        if (what < 2) {
          const kind = random(4);
          const task = kind === 0 ? ({ kind: "score" } as const) : { maxTokens: 1 + random(12) };
          const made = request(2 + random(30), task, kind === 1 ? 1 + random(3) : 1);
          try {
            scheduler.check(made.request);
          } catch {
            continue;
          }
          scheduler.add(made.request);
          alive.push(made.request);
          heards.push(made.heard);
        } else if (what === 2 && alive.length > 0) {
          scheduler.cancel(alive[random(alive.length)]!, "abort");
        } else if (what < 6 && underWay.length < 3) {
          const step = scheduler.plan();
          if (step) underWay.push(step);
          expect(step?.rows ?? 1).toBeLessThanOrEqual(LIMITS.rows);
        } else if (underWay.length > 0) {
          commit(scheduler, underWay.shift()!, random(6) === 0 ? END : 1);
        }
        expect(pool.used + pool.available).toBe(pool.total);
      }
      while (underWay.length > 0) commit(scheduler, underWay.shift()!);
      drain(scheduler, 2);
      expect([pool.used, pool.shared]).toEqual([0, 0]);
      expect(heards.every((h) => h.done === 1 && h.errors.length === 0)).toBe(true);
    }
  });
});
