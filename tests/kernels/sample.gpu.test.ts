import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { maskWords, NO_TOKEN, type BatchPlan } from "../../src/kernels/batch.ts";
import { sample } from "../../src/kernels/sample.ts";
import { expectClose } from "../reference/compare.ts";
import { Random } from "../reference/random.ts";
import { chiSquare, drawReference, softmax } from "../reference/sample.ts";
import { KernelBench, UNTOUCHED, type SlotSetup, type SlotState } from "../support/kernel-bench.ts";

type Floats = Float32Array<ArrayBuffer>;

/** One sample: its slot's options, its logits. */
interface Sample extends Pick<SlotSetup, "temperature" | "seed" | "counter" | "endIds" | "ended"> {
  logits: Floats;
  forced?: number;
  /** Tokens that the mask allows; without it the sample is not masked. */
  allowed?: readonly number[];
}

interface Drawn {
  tokens: Uint32Array;
  states: SlotState[];
  distribution: Float32Array;
  /** The largest key of each sample. */
  keys: number[];
}

let bench: KernelBench;
beforeAll(async () => {
  bench = await KernelBench.open();
});
afterAll(() => bench.close());

/** Draws for each sample once, slots given in the order of `order`; results are in the order of the samples. */
function draw(samples: readonly Sample[], order = samples.map((_, i) => i), recorded = samples.length): Promise<Drawn> {
  const vocab = samples[0]!.logits.length;
  const slots: SlotSetup[] = [];
  samples.forEach(({ temperature = 0, seed = 0, counter = 0, endIds = [], ended = 0, allowed }, i) => {
    const mask = new Uint32Array(maskWords(vocab));
    for (const token of allowed ?? []) mask[token >> 5]! |= 1 << (token & 31);
    slots[order[i]!] = { temperature, seed, counter, endIds, ended, mask, token: 12345, length: 7 };
  });
  const plan: Partial<BatchPlan> = {
    samples: samples.map(({ forced, allowed }, i) => ({
      row: i,
      slot: order[i]!,
      ...(forced !== undefined && { token: forced }),
      ...(allowed && { masked: true }),
    })),
  };
  const limits = { vocabSize: vocab, slots: Math.max(8, slots.length), samples: 64 };
  return bench.run(
    { plan, slots: Array.from(slots, (s) => s ?? {}), limits, samples: recorded },
    (graph) => {
      const logits = new Float32Array(recorded * vocab).fill(NaN);
      samples.forEach((s, i) => logits.set(s.logits, i * vocab));
      const { distribution } = sample(graph, graph.input("samples", vocab, logits));
      return { distribution, partials: graph.ops[0]!.bindings["partials"]! };
    },
    async (program, drawn) => {
      const tokens = await program.words(program.batch.tokens);
      const [distribution, partials] = [await program.words(drawn.distribution), await program.words(drawn.partials)];
      const untouched = (words: Uint32Array, each: number): void =>
        expect(words.subarray(samples.length * each).every((word) => word === UNTOUCHED)).toBe(true);
      const perSample = partials.length / recorded;
      untouched(tokens, 1);
      untouched(distribution, vocab);
      untouched(partials, perSample);
      const states = await program.states();
      expect(order.every((slot) => states[slot]!.length === 7)).toBe(true);
      const keys = new Float32Array(partials.buffer).filter((_, i) => i % 4 === 0);
      return {
        tokens: tokens.slice(0, samples.length),
        states: order.map((slot) => states[slot]!),
        distribution: new Float32Array(distribution.buffer, 0, samples.length * vocab),
        keys: samples.map((_, i) => Math.max(...keys.subarray((i * perSample) / 4, ((i + 1) * perSample) / 4))),
      };
    },
  );
}

const VOCABS = [5, 63, 64, 1000, 1024, 1025, 50_000];

/** A token that is ahead of the next by less than this may be either on a GPU. */
const MARGIN = 1e-3;

describe("sample, greedy", () => {
  it.each(VOCABS)("takes the largest logit of %i, wherever it is", async (vocab) => {
    const random = new Random(vocab);
    const places = [0, vocab - 1, vocab >> 1, Math.min(1023, vocab - 1), 1 % vocab];
    const samples = places.map((place) => {
      const logits = random.normals(vocab, 3);
      logits[place] = 20;
      return { logits };
    });
    const { tokens, states, distribution } = await draw(samples);
    expect([...tokens]).toEqual(places);
    expect(states.map((s) => [s.token, s.counter])).toEqual(places.map((p) => [p, 1]));
    // At temperature 0 the distribution is that of temperature 1: the logits themselves.
    samples.forEach(({ logits }, i) => {
      expect(distribution.subarray(i * vocab, (i + 1) * vocab)).toEqual(logits);
    });
  });

  it.each(VOCABS)("takes the lowest id among equals of %i", async (vocab) => {
    const all = new Float32Array(vocab).fill(-3.5);
    const late = Math.floor(vocab * 0.6);
    const some = Float32Array.from(all, (_, i) => (i >= late ? 2 : 1));
    const last = Float32Array.from(all, (_, i) => (i === vocab - 1 || i === vocab - 2 ? 2 : -1));
    const { tokens } = await draw([all, some, last].map((logits) => ({ logits })));
    expect([...tokens]).toEqual([0, late, vocab - 2]);
  });

  it("takes negative, huge and tiny logits as they are", async () => {
    const rows = [
      [-1e29, -2e29, -1e28, -5],
      [1e29, 3e30, 1e30, 2e30],
      [1e5, 1e5 + 0.0625, 1e5, 1e4],
      [-0, 1e-30, 0, -1e-30],
    ];
    const { tokens } = await draw(rows.map((row) => ({ logits: new Float32Array(row) })));
    expect([...tokens]).toEqual([3, 1, 1, 1]);
  });
});

describe("sample, not finite", () => {
  const bad = [NaN, Infinity, -Infinity, -NaN];

  it.each([0, 1])("writes NO_TOKEN where nothing is finite, at temperature %d", async (temperature) => {
    const samples = [...bad.map((v) => new Float32Array(1030).fill(v)), new Float32Array(1030)];
    samples[4]!.forEach((_, i) => (samples[4]![i] = bad[i % 4]!));
    const { tokens, states } = await draw(samples.map((logits) => ({ logits, temperature })));
    expect([...tokens]).toEqual(samples.map(() => NO_TOKEN));
    expect(states.map((s) => s.token)).toEqual(samples.map(() => 0));
  });

  it.each([0, 1])("takes a finite logit among them, at temperature %d", async (temperature) => {
    const samples = [3, 1024, 1029].map((place) => {
      const logits = Float32Array.from({ length: 1030 }, (_, i) => bad[i % 4]!);
      logits[place] = -40;
      return { logits, temperature };
    });
    expect([...(await draw(samples)).tokens]).toEqual([3, 1024, 1029]);
  });
});

describe("sample, masked and forced", () => {
  it.each([40, 1000, 1025])("takes the best of what the mask allows, of %i", async (vocab) => {
    const logits = Float32Array.from({ length: vocab }, (_, i) => i / 8);
    const sets = [[0], [31, 32], [vocab - 1, 3], [vocab - 2, 33, 1], [vocab - 1]];
    const { tokens, distribution } = await draw(sets.map((allowed) => ({ logits, allowed })));
    expect([...tokens]).toEqual([0, 32, vocab - 1, vocab - 2, vocab - 1]);
    sets.forEach((allowed, i) => {
      for (let token = 0; token < vocab; token++) {
        const x = distribution[i * vocab + token]!;
        if (allowed.includes(token)) expect(x).toBe(logits[token]);
        else expect(x).toBeLessThanOrEqual(-1e30);
      }
    });
  });

  it("draws only what the mask allows", async () => {
    const logits = new Float32Array(100);
    const allowed = [7, 33, 64, 99];
    const samples = Array.from({ length: 64 }, (_, seed) => ({ logits, temperature: 1, seed, allowed }));
    const tokens = new Set((await draw(samples)).tokens);
    expect([...tokens].sort((a, b) => a - b)).toEqual(allowed);
  });

  it("writes NO_TOKEN where the mask allows nothing, and ignores it where the sample is not masked", async () => {
    const logits = new Random(1).normals(1025);
    const { tokens } = await draw([{ logits, allowed: [] }, { logits, allowed: [], temperature: 1 }, { logits }]);
    expect([...tokens.subarray(0, 2)]).toEqual([NO_TOKEN, NO_TOKEN]);
    expect(tokens[2]).toBe(drawReference({ logits, temperature: 0, seed: 0, counter: 0 }).token);
  });

  it("writes a forced token whatever the logits say, and counts the draw", async () => {
    const logits = new Random(2).normals(1025);
    const nothing = new Float32Array(1025).fill(NaN);
    const { tokens, states } = await draw([
      { logits, forced: 1024 },
      { logits, forced: 0, temperature: 1, counter: 9 },
      { logits: nothing, forced: 17 },
      { logits, forced: 5, allowed: [6] },
    ]);
    expect([...tokens]).toEqual([1024, 0, 17, 5]);
    expect(states.map((s) => [s.token, s.counter])).toEqual([
      [1024, 1],
      [0, 10],
      [17, 1],
      [5, 1],
    ]);
  });
});

describe("sample, at an end token", () => {
  const logits = new Random(4).normals(1025);
  const forced = (token: number, endIds: number[]): Sample => ({ logits, forced: token, endIds });

  it("says so in the state, for any of the slot's own", async () => {
    const ends = [9, 1024, 0, 77, 31];
    const { tokens, states } = await draw([
      ...ends.map((token) => forced(token, ends)),
      forced(10, ends),
      forced(9, []),
      forced(9, [10]),
      forced(9, [8, 7, 9]),
    ]);
    expect([...tokens]).toEqual([...ends, 10, 9, 9, 9]);
    expect(states.map((s) => s.ended)).toEqual([1, 1, 1, 1, 1, 0, 0, 0, 1]);
  });

  it("looks for the first five, and leaves others to the host", async () => {
    const { states } = await draw([forced(6, [1, 2, 3, 4, 6, 5]), forced(5, [1, 2, 3, 4, 6, 5])]);
    expect(states.map((s) => s.ended)).toEqual([1, 0]);
  });

  it("finds none in a row without a token", async () => {
    const { tokens, states } = await draw([
      { logits, allowed: [], endIds: [3] },
      { logits, allowed: [] },
    ]);
    expect([...tokens]).toEqual([NO_TOKEN, NO_TOKEN]);
    expect(states.map((s) => s.ended)).toEqual([0, 0]);
  });

  it("draws one from the logits as well, and nothing behind it", async () => {
    const best = drawReference({ logits, temperature: 0, seed: 0, counter: 0 }).token!;
    const ended = { logits, temperature: 1, seed: 5, counter: 8, endIds: [1], ended: 1 };
    const { tokens, states } = await draw([{ logits, endIds: [best] }, ended, { ...ended, forced: 3 }]);
    expect(tokens[0]).toBe(best);
    expect(states[0]).toMatchObject({ token: best, counter: 1, ended: 1 });
    for (const state of states.slice(1)) expect(state).toMatchObject({ token: 12345, counter: 8, ended: 1 });
    expect([...tokens.subarray(1)]).toEqual([12345, 12345]);
  });
});

describe("sample, at a temperature", () => {
  it.each(VOCABS)("draws what the reference draws, of %i", async (vocab) => {
    const random = new Random(vocab + 1);
    const samples = Array.from({ length: 16 }, (_, i) => ({
      logits: random.normals(vocab, 2),
      temperature: [0.3, 0.7, 1, 2.5][i % 4]!,
      seed: random.bits(),
      counter: i < 8 ? i : random.bits() & 0xffff,
    }));
    const { tokens, states, distribution, keys } = await draw(
      samples,
      samples.map((_, i) => 15 - i),
      20,
    );
    let certain = 0;
    samples.forEach((s, i) => {
      const { token, key, margin } = drawReference(s);
      // f32 holds a variate to some 10⁻⁶ of itself.
      expect(Math.abs(keys[i]! - key)).toBeLessThan(1e-5 * (1 + Math.abs(key)));
      if (margin > MARGIN) {
        certain++;
        expect([i, tokens[i]]).toEqual([i, token]);
      }
      expect(states[i]!.token).toBe(tokens[i]);
      expect(states[i]!.counter).toBe(s.counter + 1);
      expectClose(
        distribution.subarray(i * vocab, (i + 1) * vocab),
        s.logits.map((x) => x / s.temperature),
      );
    });
    expect(certain).toBeGreaterThan(12);
  });

  it("gives the same token for a seed whatever slot, row and company it has", async () => {
    const random = new Random(3);
    const samples = Array.from({ length: 12 }, (_, seed) => ({
      logits: random.normals(1025, 1),
      temperature: 1,
      seed,
      counter: 5,
    }));
    const together = await draw(samples);
    expect((await draw(samples)).tokens).toEqual(together.tokens);
    expect(
      (
        await draw(
          samples,
          samples.map((_, i) => 11 - i),
        )
      ).tokens,
    ).toEqual(together.tokens);
    expect((await draw([...samples].reverse())).tokens).toEqual(together.tokens.slice().reverse());
    for (const i of [0, 5, 11]) expect((await draw([samples[i]!], [2])).tokens[0]).toBe(together.tokens[i]);
    expect(new Set(together.tokens).size).toBeGreaterThan(6);
  });

  it.each([5, 1025, 3000])(
    "sums each chunk of the distribution for whoever needs its softmax: vocab %i",
    async (vocab) => {
      const random = new Random(vocab);
      const temperatures = [0, 0.5, 2];
      const logits = random.normals(temperatures.length * vocab, 3);
      const [partials, chunks] = await bench.run(
        {
          plan: { samples: temperatures.map((_, slot) => ({ row: slot, slot })) },
          slots: temperatures.map((temperature, seed) => ({ temperature, seed })),
          limits: { vocabSize: vocab },
        },
        (graph) => {
          sample(graph, graph.input("samples", vocab, logits));
          return graph.ops[0]!;
        },
        async (program, op) => [await program.floats(op.bindings["partials"]!), op.grid[0]] as const,
      );
      expect(partials.length).toBe(temperatures.length * chunks * 4);
      temperatures.forEach((temperature, s) => {
        for (let chunk = 0; chunk < chunks; chunk++) {
          const range = [s * vocab + chunk * 1024, s * vocab + Math.min((chunk + 1) * 1024, vocab)] as const;
          const scaled = Float64Array.from(logits.subarray(...range), (x) => x / (temperature || 1));
          const top = scaled.reduce((a, b) => Math.max(a, b));
          const sum = scaled.reduce((total, x) => total + Math.exp(x - top), 0);
          const at = 4 * (s * chunks + chunk);
          expectClose(partials.subarray(at + 2, at + 3), [top]);
          expectClose(partials.subarray(at + 3, at + 4), [sum]);
        }
      });
    },
  );

  it.each([1e-6, 1e-20, 1e-30, 1e-37, 1e-40])("draws as greedy at %d, which is almost 0", async (temperature) => {
    const random = new Random(4);
    // Large, and in half of the samples negative: divided by the temperature they are past what f32 holds.
    const samples = Array.from({ length: 8 }, (_, seed) => ({
      logits: random.normals(1000, 20).map((x) => (seed & 1 ? -100 - Math.abs(x) : x)),
      temperature,
      seed,
    }));
    const greedy = await draw(samples.map((s) => ({ ...s, temperature: 0 })));
    expect((await draw(samples)).tokens).toEqual(greedy.tokens);
  });

  it.each([
    [5, 1, 1.5],
    [5, 0.5, 1],
    [64, 1.3, 1.5],
    [1025, 1, 2],
  ])("draws 4,096 times as softmax says: vocab %i, temperature %d, logits ~ %d", async (vocab, temperature, spread) => {
    const logits = new Random(vocab).normals(vocab, spread);
    const [slots, rounds] = [64, 64];
    const counts = new Array<number>(vocab).fill(0);
    await bench.run(
      {
        plan: { samples: Array.from({ length: slots }, (_, slot) => ({ row: slot, slot })) },
        slots: Array.from({ length: slots }, (_, seed) => ({ temperature, seed })),
        limits: { vocabSize: vocab, slots, samples: slots },
      },
      (graph) => {
        const all = new Float32Array(slots * vocab);
        for (let i = 0; i < slots; i++) all.set(logits, i * vocab);
        sample(graph, graph.input("samples", vocab, all));
      },
      async (program) => {
        for (let round = 0; round < rounds; round++) {
          if (round > 0) program.submit();
          for (const token of await program.words(program.batch.tokens)) counts[token]!++;
        }
        expect((await program.states()).every((s) => s.counter === rounds)).toBe(true);
      },
    );
    const { value, limit } = chiSquare(counts, softmax(logits, temperature), slots * rounds);
    expect(value).toBeLessThan(limit);
  });
});
