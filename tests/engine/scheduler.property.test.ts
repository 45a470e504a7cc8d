/** Random lives of the scheduler against a GPU that knows what every entry of its cache means (fake-gpu.ts). */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { check } from "./fake-gpu.ts";
import { checkOutcome, PLAIN, ROOMY, World, type Heard, type Wish, type WorldOptions } from "./world.ts";

/** Where a fault was seeded, that something fails is enough. */
const endOnFailure = process.env["TESSERA_FAULT"] !== undefined;
const RUNS = { numRuns: 1000, seed: 20260, endOnFailure };
const STEPS = 200;

/** Prompts of few families with few tokens, so that they share beginnings and part ways anywhere. */
const promptOf = (most: number): fc.Arbitrary<number[]> =>
  fc
    .record({
      family: fc.nat(2),
      shared: fc.integer({ min: 1, max: most }),
      rest: fc.array(fc.nat(2), { maxLength: 6 }),
    })
    .map(({ family, shared, rest }) => [...Array.from({ length: shared }, (_, i) => (family + i * i) % 3), ...rest]);

const wishes = (change: Partial<Record<keyof Wish, fc.Arbitrary<unknown>>> = {}): fc.Arbitrary<Wish> =>
  fc
    .record({
      ids: promptOf(24),
      kind: fc.oneof(
        { weight: 5, arbitrary: fc.constant("generate") },
        { weight: 1, arbitrary: fc.constantFrom("logits", "score", "save") },
      ),
      maxTokens: fc.integer({ min: 1, max: 14 }),
      temperature: fc.nat(1),
      seed: fc.nat(3),
      n: fc.oneof({ weight: 3, arbitrary: fc.constant(1) }, { weight: 1, arbitrary: fc.integer({ min: 2, max: 3 }) }),
      priority: fc.oneof(
        { weight: 3, arbitrary: fc.constant(0) },
        { weight: 1, arbitrary: fc.integer({ min: -1, max: 1 }) },
      ),
      stepwise: fc.oneof({ weight: 4, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) }),
      salt: fc.oneof({ weight: 6, arbitrary: fc.constant("") }, { weight: 1, arbitrary: fc.constant("other") }),
      from: fc.nat(30),
      regime: fc.oneof({ weight: 6, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.constant(1) }),
      ...change,
    })
    .map((wish) => ({ ...wish, n: wish.kind === "generate" ? wish.n : 1 }) as Wish);

/** Layers that all see everything, all have a window, or some of each, with a pool for each kind. */
const window = fc.integer({ min: 2, max: 14 });
const viewsOf = (pages: fc.Arbitrary<number>): fc.Arbitrary<Pick<WorldOptions, "window" | "second">> =>
  fc.oneof(
    { weight: 2, arbitrary: fc.constant({}) },
    { weight: 1, arbitrary: fc.record({ window }) },
    { weight: 1, arbitrary: fc.record({ second: fc.record({ pages, window }) }) },
  );
const VIEWS = viewsOf(fc.integer({ min: 8, max: 40 }));

type Change = Partial<Record<keyof WorldOptions | "views", fc.Arbitrary<unknown>>>;

const worlds = ({ views = VIEWS, ...change }: Change = {}): fc.Arbitrary<WorldOptions> =>
  fc.tuple(basicWorlds(change), views).map(([world, view]) => Object.assign(world, view));

const basicWorlds = (change: Change): fc.Arbitrary<WorldOptions> =>
  fc.record({
    pages: fc.integer({ min: 8, max: 40 }),
    pageSize: fc.constantFrom(1, 2, 4, 8),
    rows: fc.integer({ min: 1, max: 20 }),
    readRows: fc.integer({ min: 1, max: 9 }),
    slots: fc.integer({ min: 1, max: 5 }),
    depth: fc.integer({ min: 1, max: 4 }),
    seed: fc.nat(1000),
    // One hash in four calls everything the same.
    hash: fc.constantFrom(undefined, undefined, undefined, () => "same"),
    ...change,
  }) as fc.Arbitrary<WorldOptions>;

type Act =
  | { act: "add"; wish: Wish }
  | { act: "cancel"; which: number; choice: number | undefined }
  | { act: "lose" }
  | { act: "submit" }
  | { act: "deliver" };

const acts = (wish: fc.Arbitrary<Wish> = wishes(), cancels = 1, losses = 0): fc.Arbitrary<Act[]> =>
  fc.array(
    fc.oneof(
      { weight: 3, arbitrary: fc.record({ act: fc.constant("add" as const), wish }) },
      {
        weight: cancels,
        arbitrary: fc.record({
          act: fc.constant("cancel" as const),
          which: fc.nat(20),
          choice: fc.option(fc.nat(2), { nil: undefined }),
        }),
      },
      { weight: losses, arbitrary: fc.constant({ act: "lose" as const }) },
      { weight: 6, arbitrary: fc.constant({ act: "submit" as const }) },
      { weight: 5, arbitrary: fc.constant({ act: "deliver" as const }) },
    ),
    { maxLength: STEPS, size: "max" },
  );

function live(world: World, list: readonly Act[]): void {
  for (const act of list) {
    if (act.act === "add") world.add(act.wish);
    else if (act.act === "cancel") world.cancel(act.which, act.choice);
    else if (act.act === "lose") world.lose();
    else if (act.act === "submit") world.submit();
    else world.deliver();
  }
}

const property = <T>(name: string, arbitrary: fc.Arbitrary<T>, holds: (value: T) => void): void =>
  it(name, { timeout: 180_000 }, () => fc.assert(fc.property(arbitrary, holds), RUNS));

const generators = (change: Parameters<typeof wishes>[0] = {}): fc.Arbitrary<Wish> =>
  wishes({ kind: fc.constant("generate"), ...change });

describe("whatever comes", () => {
  property(
    "everybody has what he would have alone; no page has two writers, or a reader of another prefix",
    fc.tuple(worlds(), acts()),
    ([options, list]) => {
      const world = new World(options);
      live(world, list);
      world.drain();
      world.heard.forEach((heard) => checkOutcome(heard, options));
    },
  );

  property(
    "cancelling at any moment leaves nothing behind, neither pages nor slots",
    fc.tuple(worlds({ pages: fc.integer({ min: 6, max: 16 }) }), acts(wishes(), 5)),
    ([options, list]) => {
      const world = new World(options);
      live(world, list);
      for (const heard of world.heard) world.scheduler.cancel(heard.request, "abort");
      while (world.deliver());
      check(
        world.heard.every((h) => h.done === 1 && h.finished.every(Boolean)),
        "somebody was not told of the end",
      );
      const { slots, pageSize, pages } = options;
      const all = world.add({ ...PLAIN, ids: [1], n: Math.min(slots, pages), maxTokens: 1 });
      world.drain();
      check(all && pageSize > 0 && all.done === 1, "a slot is lost");
      world.checkEmpty();
    },
  );

  property(
    "a device that is lost at any moment is made good: everybody has what he would have had",
    fc.tuple(worlds(), acts(wishes(), 1, 2)),
    ([options, list]) => {
      const world = new World(options);
      live(world, list);
      world.drain();
      world.heard.forEach((heard) => checkOutcome(heard, options));
      world.checkEmpty();
    },
  );

  property("a device that fails at any moment leaves nothing behind", fc.tuple(worlds(), acts()), ([options, list]) => {
    const world = new World(options);
    live(world, list);
    const alive = world.heard.filter((h) => h.done === 0);
    const error = new Error("lost");
    world.scheduler.fail(error);
    const heard = alive.map((h) => h.tokens.flat().length);
    while (world.deliver()); // Core does not, but results may be in its hands already
    check(
      alive.every(({ errors, done }) => errors.length === 1 && errors[0] === error && done === 0),
      "not one error for each",
    );
    check(
      alive.every((h, i) => h.tokens.flat().length === heard[i]),
      "a token after the failure",
    );
    check(world.scheduler.plan() === null, "a step after the failure");
    world.checkEmpty();
  });
});

describe("turns", () => {
  property(
    "first come, first served within a priority",
    fc.tuple(worlds(), acts(generators(), 0)),
    ([options, list]) => {
      const world = new World(options);
      const begun: Heard[] = [];
      const submit = world.submit.bind(world);
      world.submit = () => {
        const step = submit();
        for (const { sequence } of step?.setups ?? []) {
          const heard = world.heard.find((h) => h.request === sequence.group.request)!;
          if (!begun.includes(heard)) begun.push(heard);
        }
        return step;
      };
      live(world, list);
      world.drain();
      for (const priority of [-1, 0, 1]) {
        const order = begun.filter((h) => h.wish.priority === priority).map((h) => world.heard.indexOf(h));
        check(
          order.every((x, i) => i === 0 || order[i - 1]! < x),
          "a later request began before an earlier one",
        );
      }
    },
  );

  property(
    "the first in order goes on within a bounded number of turns, whatever the others hold",
    fc.tuple(
      worlds({ pages: fc.integer({ min: 6, max: 14 }), hash: fc.constant(undefined) }),
      fc.array(fc.option(wishes(), { freq: 3, nil: undefined }), { maxLength: STEPS, size: "max" }),
    ),
    ([options, list]) => {
      const world = new World(options);
      const bound = 4 * (options.slots + 1) * (options.depth + 1);
      let first: Heard | undefined;
      let waited = 0;
      for (const wish of [...list, ...Array.from({ length: 100 }, () => undefined)]) {
        if (wish) world.add(wish);
        const step = world.submit();
        if (!step) world.deliver();
        const alive = world.heard.filter((h) => h.done === 0);
        const now = alive.sort((a, b) => b.wish.priority - a.wish.priority)[0]; // stable: then by arrival
        const part = world.gpu.underWay.some((s) => s.sequences.some((q) => q.group.request === now?.request));
        waited = now && now === first && !part ? waited + 1 : 0;
        first = now;
        check(waited <= bound, `the first in order waited for ${waited} turns`);
      }
    },
  );

  property(
    "whoever talks has a row in every step, however long the prompts beside him",
    fc.tuple(
      worlds({ pages: fc.constant(400), rows: fc.integer({ min: 5, max: 12 }), views: viewsOf(fc.constant(400)) }),
      acts(generators({ stepwise: fc.constant(false), priority: fc.constant(0), ids: promptOf(60) })),
    ),
    ([options, list]) => {
      const world = new World(options);
      const submit = world.submit.bind(world);
      world.submit = () => {
        const talking = world.talking();
        const step = submit();
        const rows = step?.batch.segments.filter((s) => s.tokens === null).length;
        check(!step || rows! >= talking, `${rows} of ${talking} have a row`);
        return step;
      };
      live(world, list);
      world.drain();
    },
  );

  property(
    "a request that the host steps has one draw under way, and does not stop the others",
    fc.tuple(worlds({ pages: fc.constant(200) }), acts(generators({ n: fc.constant(1) }), 0)),
    ([options, list]) => {
      const world = new World(options);
      const submit = world.submit.bind(world);
      world.submit = () => {
        const step = submit();
        for (const { sequences } of world.gpu.underWay) {
          for (const s of sequences) {
            check(
              !s.group.request.stepwise || s.drawn - s.received.length <= 1,
              "a second draw before the first is seen",
            );
          }
        }
        return step;
      };
      live(world, list);
      world.drain();
      world.heard.forEach((heard) => checkOutcome(heard, options));
    },
  );
});

describe("pages", () => {
  property(
    "a prefix hit gives what a miss does, and leaves out every full page but the last row's",
    fc.tuple(
      worlds({
        pages: fc.constant(400),
        hash: fc.constant(undefined),
        views: viewsOf(fc.constant(400)),
      }),
      fc.array(wishes(), { maxLength: 12 }),
    ),
    ([options, list]) => {
      const world = new World(options);
      for (const wish of list) {
        world.add({ ...wish, n: 1 });
        world.drain();
        const before = world.scheduler.counters.hitTokens;
        const again = world.add({ ...wish, n: 1 });
        world.drain();
        if (!again) continue;
        const all = wish.kind === "generate" || wish.kind === "save";
        const last = all ? wish.ids.length - 1 : Math.min(wish.from, wish.ids.length - 1);
        const hit = wish.kind === "score" ? 0 : Math.floor(last / options.pageSize) * options.pageSize;
        check(world.scheduler.counters.hitTokens - before === hit, "the second time hits what the first has left");
      }
      world.heard.forEach((heard) => checkOutcome(heard, options));
    },
  );

  property(
    "a session that was saved, and restored in another world, is hit as if it had been computed there",
    fc.tuple(
      worlds(),
      acts(),
      promptOf(40),
      worlds({ pages: fc.constant(60), views: fc.constant({}) }),
      fc.oneof(fc.constant(60), fc.integer({ min: 8, max: 20 })),
    ),
    ([options, list, ids, other, pages]) => {
      const { pageSize, window, second } = options;
      const world = new World(options);
      live(world, list);
      const saved = world.add({ ...PLAIN, ids, kind: "save" });
      live(world, list);
      world.drain();
      if (!saved || saved.cancelled) return;
      checkOutcome(saved, options);
      const there = new World({
        ...other,
        pageSize,
        ...(window && { window }),
        ...(window && { pages }),
        ...(second && { second: { ...second, pages } }),
      });
      for (const act of list.slice(0, 5)) if (act.act === "add") there.add(act.wish);
      const restored = there.restore(saved);
      there.drain();
      if (!restored) return;
      check(restored.done === 1, "a session was not restored");
      there.checkBooks();
      const before = there.scheduler.counters.hitTokens;
      const again = there.add({ ...PLAIN, ids, maxTokens: 6 });
      there.drain();
      const hit = Math.floor((ids.length - 1) / pageSize) * pageSize;
      // Where there is little room, others may have needed it since.
      if (again && pages === 60)
        check(there.scheduler.counters.hitTokens - before === hit, "what was restored is not hit");
      there.heard.forEach((heard) => checkOutcome(heard, there.options));
    },
  );

  property(
    "n continuations of one prompt are n requests with their seeds",
    fc.tuple(worlds(), generators({ n: fc.integer({ min: 1, max: 5 }) }), fc.integer({ min: 0, max: 2 })),
    ([options, wish, before]) => {
      const together = new World(options);
      for (let i = 0; i < before; i++) together.add({ ...PLAIN, ids: wish.ids, maxTokens: 3 });
      const group = together.add(wish);
      together.drain();
      const apart = new World({ ...ROOMY, seed: options.seed });
      const each = Array.from({ length: wish.n }, (_, i) => apart.add({ ...wish, n: 1, seed: wish.seed + i }));
      apart.drain();
      if (group) expect(group.tokens).toEqual(each.map((h) => h!.tokens[0]));
    },
  );

  let preempted = 0;
  const tight = {
    pages: fc.integer({ min: 10, max: 14 }),
    pageSize: fc.constant(2),
    slots: fc.integer({ min: 2, max: 5 }),
  };
  const long = { ids: promptOf(6), maxTokens: fc.integer({ min: 8, max: 14 }), temperature: fc.constant(1) };
  property(
    "a preempted sequence goes on with the draws it would have had",
    fc.tuple(
      worlds(tight),
      fc.array(generators({ ...long, salt: fc.constantFrom("a", "b", "c") }), { minLength: 4, maxLength: 8 }),
    ),
    ([options, list]) => {
      const world = new World(options);
      list.forEach((wish) => world.add(wish));
      for (let step = world.submit() ?? world.deliver(); step; step = world.submit() ?? world.deliver()) {
        if (step === true) continue;
        for (const { counter, sequence } of step.setups) {
          check(counter === sequence.received.length, "draws are counted anew");
        }
      }
      world.heard.forEach((heard) => checkOutcome(heard, options));
      preempted += world.scheduler.counts.preemptions > 0 ? 1 : 0;
    },
  );
  it("(and there were some)", () => expect(preempted).toBeGreaterThan(RUNS.numRuns / 4));
});
