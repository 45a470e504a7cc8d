/** What measuring stands on: random words that are the same everywhere, and the kernels that find a device's peaks. */
import { afterAll, describe, expect, it } from "vitest";
import { peakMultiply, peakRead, peakTouch, RECURRENCE } from "../../src/bench/peaks.ts";
import { f16ToNumber } from "../../src/base/half.ts";
import type { Range } from "../../src/kernels/batch.ts";
import { fill, fold, PATTERNS, type Pattern } from "../../src/kernels/fill.ts";
import { fillWords } from "../reference/fill.ts";
import { KernelBench, UNTOUCHED, type BenchGraph } from "../support/kernel-bench.ts";
import { Random } from "../reference/random.ts";

const bench = await KernelBench.open();
afterAll(() => bench.close());

/** The first bytes of an upload, without its guard. */
const part = ({ buffer }: Range, bytes: number): Range => ({ buffer, offset: 0, size: bytes });
const untouched = (graph: BenchGraph, words: number): Range => graph.upload(new Uint32Array(words).fill(UNTOUCHED));

describe("fill", () => {
  it.each<[count: number, pattern: Pattern, seed: number]>([
    ...[1, 2, 63, 64, 255, 256, 257, 511, 512, 513, 1000].map((n): [number, Pattern, number] => [n, PATTERNS.f32, 1]),
    [300, PATTERNS.f16, 2],
    [300, PATTERNS.bf16, 3],
    [300, { keep: 0xffffffff, fixed: 0 }, 4],
    [300, { keep: 0, fixed: 0x12345678 }, 5],
    [300, PATTERNS.f32, 0xffffffff],
  ])("%i vectors of %j from seed %i", async (count, pattern, seed) => {
    const words = await bench.run(
      {},
      (graph) => {
        const range = untouched(graph, 4 * count);
        fill(graph, part(range, 16 * count), pattern, seed);
        return range;
      },
      (program, range) => program.words(range),
    );
    expect(words).toEqual(fillWords(count, pattern.keep, pattern.fixed, seed));
  });

  it("makes numbers of a sane size in each format", () => {
    const sane = (x: number): boolean => Math.abs(x) >= 2 ** -7 && Math.abs(x) < 2 ** -6;
    const { f32, f16, bf16 } = PATTERNS;
    expect([...new Float32Array(fillWords(99, f32.keep, f32.fixed, 1).buffer)].every(sane)).toBe(true);
    const halves = (p: Pattern): number[] => [...new Uint16Array(fillWords(99, p.keep, p.fixed, 1).buffer)];
    expect(halves(f16).map(f16ToNumber).every(sane)).toBe(true);
    const asF32 = new Float32Array(Uint32Array.from(halves(bf16), (h) => h << 16).buffer);
    expect([...asF32].every(sane)).toBe(true);
  });

  it("folds grids past one dimension, with no workgroup missing", () => {
    for (const groups of [1, 2, 32767, 32768, 32769, 65536, 65537, 1_000_003]) {
      const [x, y] = fold(groups);
      expect(x * y).toBeGreaterThanOrEqual(groups);
      expect(x * y).toBeLessThan(groups + y);
      expect(Math.max(x, y)).toBeLessThanOrEqual(32768);
    }
  });
});

describe("peak_read", () => {
  it.each<[count: number, perLane: number]>([
    [1, 1],
    [255, 1],
    [256, 1],
    [257, 1],
    [256, 4],
    [1023, 4],
    [1024, 4],
    [1025, 4],
    [3000, 2],
    [5000, 16],
  ])("reads each of %i vectors once, %i a lane", async (count, perLane) => {
    const random = new Random(count);
    const data = Uint32Array.from({ length: 4 * count }, () => random.bits());
    const out = await bench.run(
      {},
      (graph) => peakRead(graph, part(graph.upload(data), 16 * count), perLane),
      (program, tensor) => program.words(tensor),
    );
    const lanes = Math.ceil(count / (256 * perLane)) * 256;
    const expected = new Uint32Array(lanes);
    for (let i = 0; i < count; i++) {
      const lane = Math.floor(i / (256 * perLane)) * 256 + (i % 256);
      for (let j = 0; j < 4; j++) expected[lane]! ^= data[4 * i + j]!;
    }
    expect(out).toEqual(expected);
  });
});

describe("peak_multiply", () => {
  /** Σ over eight chains of vec4, each 4 · rounds steps from its own start. */
  function sum(lane: number, rounds: number): number {
    const { factor, addend } = RECURRENCE;
    let total = 0;
    for (let chain = 0; chain < 8; chain++) {
      for (let c = 0; c < 4; c++) {
        let x = (lane % 32) * 0.03125 + 0.25 * c + chain;
        for (let i = 0; i < 4 * rounds; i++) x = x * factor + addend;
        total += x;
      }
    }
    return total;
  }

  const run = (lanes: number, rounds: number, f16: boolean): Promise<Float32Array> =>
    bench.run(
      {},
      (graph) => peakMultiply(graph, lanes, rounds, f16),
      (program, tensor) => program.floats(tensor),
    );

  it.each([
    [1, 1],
    [64, 1],
    [255, 2],
    [256, 2],
    [257, 3],
    [1000, 1],
    [64, 0],
    [64, 100],
  ])("does in %i lanes what %i rounds of it are", async (lanes, rounds) => {
    const out = await run(lanes, rounds, false);
    for (let i = 0; i < lanes; i++) expect(Math.abs(out[i]! / sum(i % 256, rounds) - 1)).toBeLessThan(1e-5);
  });

  it.skipIf(!bench.gpu.info.shaderF16).each([1, 3, 40])("the same in f16, %i rounds", async (rounds) => {
    const out = await run(100, rounds, true);
    for (let i = 0; i < 100; i++) expect(Math.abs(out[i]! / sum(i, rounds) - 1)).toBeLessThan(4e-3);
  });
});

describe("peak_touch", () => {
  it.each([1, 2, 7, 64])("counts %i dispatches, each after the one before", async (times) => {
    const out = await bench.run(
      {},
      (graph) => {
        const counter = graph.input("one", 1, new Uint32Array([5]));
        for (let i = 0; i < times; i++) peakTouch(graph, counter);
        return counter;
      },
      (program, counter) => program.words(counter),
    );
    expect(out[0]).toBe(5 + times);
  });
});
