import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bf16ToNumber, f16ToNumber, numberToBf16, numberToF16 } from "../../src/base/half.ts";
import { repackGrid, repackParams, repackSource } from "../../src/kernels/repack.ts";
import { DENSE_FORMATS, type DenseFormat } from "../../src/weights/quant/dense.ts";
import { GROUPED_FORMATS, quantiseRow, usedWords, type GroupedFormat } from "../../src/weights/quant/grouped.ts";
import { rowWords, type ResidentLayout } from "../../src/weights/quant/layout.ts";
import { Random } from "../reference/random.ts";
import { KernelBench, UNTOUCHED } from "../support/kernel-bench.ts";

interface Case {
  from: DenseFormat;
  to: DenseFormat;
  columns: number;
  rows: number;
  firstRow: number;
  rowStep: number;
}

const PAIRS = DENSE_FORMATS.flatMap((from) => DENSE_FORMATS.map((to) => [from, to] as const));

/** Bits of values one after another, in the width of their format. */
type Codes = Uint16Array<ArrayBuffer> | Uint32Array<ArrayBuffer>;

const f32 = new Float32Array(1);
const f32Bits = new Uint32Array(f32.buffer);

/** The code of format `to` for a code of format `from`, by src/base/half.ts; null for a NaN, whose code is not one. */
function converted(code: number, from: DenseFormat, to: DenseFormat): number | null {
  let value: number;
  if (from === "f32") {
    f32Bits[0] = code;
    value = f32[0]!;
  } else value = from === "f16" ? f16ToNumber(code) : bf16ToNumber(code);
  if (Number.isNaN(value)) return null;
  if (to === "f16") return numberToF16(value);
  if (to === "bf16") return numberToBf16(value);
  f32[0] = value;
  return f32Bits[0]!;
}

function isNaNCode(code: number, format: DenseFormat): boolean {
  const [magnitude, infinite] =
    format === "f32" ? [code & 0x7fffffff, 0x7f800000] : [code & 0x7fff, format === "f16" ? 0x7c00 : 0x7f80];
  return magnitude > infinite;
}

/** What half precision can go wrong at, in f32: every f16, what lies halfway between two, and its neighbours. */
function hardF32(): Uint32Array<ArrayBuffer> {
  const codes: number[] = [];
  for (let bits = 0; bits < 0x7c00; bits++) {
    const [low, high] = [f16ToNumber(bits), bits === 0x7bff ? 65536 : f16ToNumber(bits + 1)];
    f32[0] = (low + high) / 2;
    const middle = f32Bits[0]!;
    f32[0] = low;
    codes.push(f32Bits[0]!, middle - 1, middle, middle + 1);
  }
  // The same halfway points of bf16, over all exponents.
  for (let bits = 0; bits < 0x7f80; bits += 5) codes.push(...[0x7fff, 0x8000, 0x8001].map((low) => (bits << 16) | low));
  codes.push(
    0x477fefff,
    0x477ff000,
    0x47800000,
    0x7f7fffff,
    0x7f800000,
    0x7f800001,
    0x7fc00000,
    0x7fffffff,
    1,
    0x7fffff,
  );
  return Uint32Array.from([...codes, ...codes.map((code) => (code | 0x80000000) >>> 0)]);
}

function allHalves(): Uint16Array<ArrayBuffer> {
  return Uint16Array.from({ length: 65536 }, (_, i) => i);
}

let bench: KernelBench;
beforeAll(async () => {
  bench = await KernelBench.open();
});
afterAll(() => bench.close());

/** Runs a chunk through the kernel: the words of its rows in the target, and whether anything else was touched. */
async function repackWords(
  c: Omit<Case, "to"> & { to: ResidentLayout },
  codes: Codes,
): Promise<{ rows: Uint32Array<ArrayBuffer>[]; others: boolean }> {
  const { from, to, columns, rows, firstRow, rowStep } = c;
  const perRow = rowWords(to, columns);
  const targetRows = firstRow + rows * rowStep + 1;
  const words = await bench.run(
    {},
    (graph) => {
      const bytes = new Uint8Array(Math.ceil(codes.byteLength / 4) * 4).fill(0xee);
      bytes.set(new Uint8Array(codes.buffer));
      const staging = graph.upload(new Uint32Array(bytes.buffer));
      const weights = graph.upload(new Uint32Array(targetRows * perRow).fill(UNTOUCHED));
      const target = { weights, layout: to, columns, firstRow, rowStep };
      graph.dispatch(
        repackSource(from, to),
        repackParams(target, rows),
        { staging, weights },
        repackGrid(target, rows),
      );
      return weights;
    },
    (program, weights) => program.words(weights),
  );
  const written = new Set(Array.from({ length: rows }, (_, i) => firstRow + i * rowStep));
  return {
    rows: [...written].map((row) => words.slice(row * perRow, (row + 1) * perRow)),
    others: words.some((word, i) => !written.has(Math.floor(i / perRow)) && word !== UNTOUCHED),
  };
}

/** The same for a dense target: the codes of its rows, padding included. */
async function repack(c: Case, codes: Codes): Promise<{ rows: number[][]; others: boolean }> {
  const { rows, others } = await repackWords(c, codes);
  return { rows: rows.map((row) => [...(c.to === "f32" ? row : new Uint16Array(row.buffer))]), others };
}

/** Mismatches as text, few enough to read. */
function mismatches(c: Case, codes: Codes, rows: readonly number[][]): string[] {
  const found: string[] = [];
  rows.forEach((row, r) => {
    row.forEach((code, k) => {
      if (k >= c.columns) {
        if (code !== 0) found.push(`padding ${r}, ${k}: ${code.toString(16)}`);
        return;
      }
      const source = codes[r * c.columns + k]!;
      const expected = converted(source, c.from, c.to);
      if (expected === null ? !isNaNCode(code, c.to) : code !== expected) {
        found.push(`${source.toString(16)}: ${code.toString(16)}, not ${expected?.toString(16) ?? "NaN"}`);
      }
    });
  });
  return found.slice(0, 10);
}

describe("repack", () => {
  it.each(PAIRS)("turns every hard case of %s into %s as the CPU does", async (from, to) => {
    const codes: Codes = from === "f32" ? hardF32() : allHalves();
    const columns = 254;
    const rows = Math.floor(codes.length / columns);
    const c = { from, to, columns, rows, firstRow: 0, rowStep: 1 };
    const used = codes.slice(codes.length - rows * columns); // the first few stand in the next test
    expect(mismatches(c, used, (await repack(c, used)).rows)).toEqual([]);
  });

  it.each(PAIRS)("of %s to %s keeps f32 bits, signs of zero and infinities", async (from, to) => {
    const codes: Codes =
      from === "f32"
        ? Uint32Array.from([0, 0x80000000, 0x7f800000, 0xff800000, 0x7fa00001, 0xffc00123, 1, 0x80000001])
        : Uint16Array.from([0, 0x8000, ...(from === "f16" ? [0x7c00, 0xfc00] : [0x7f80, 0xff80]), 1, 0x8001, 2, 3]);
    const c = { from, to, columns: 8, rows: 1, firstRow: 0, rowStep: 1 };
    const { rows } = await repack(c, codes);
    expect(mismatches(c, codes, rows)).toEqual([]);
    if (from === "f32" && to === "f32") expect(rows[0]).toEqual([...codes]);
  });

  const shapes = [1, 2, 3, 4, 5, 8, 9, 127, 130].flatMap((columns, i) => [
    { columns, rows: 1 + (i % 4), firstRow: 0, rowStep: 1 },
    { columns, rows: 3, firstRow: 2 * (i % 3), rowStep: 2 },
    { columns, rows: 2, firstRow: 1, rowStep: 2 },
  ]);
  const cases = shapes.map((shape, i): Case => ({ from: PAIRS[i % 9]![0], to: PAIRS[i % 9]![1], ...shape }));
  it.each(cases)("$from to $to: $rows × $columns to rows $firstRow + i · $rowStep", async (c) => {
    const random = new Random(c.columns);
    const values = Array.from({ length: c.rows * c.columns }, () => random.bits());
    const codes: Codes = c.from === "f32" ? Uint32Array.from(values) : Uint16Array.from(values);
    const { rows, others } = await repack(c, codes);
    expect(mismatches(c, codes, rows)).toEqual([]);
    expect(others).toBe(false);
  });

  it("folds more rows than a grid has", async () => {
    const c: Case = { from: "f16", to: "bf16", columns: 1, rows: 65_540, firstRow: 3, rowStep: 1 };
    const codes = Uint16Array.from({ length: 65_540 }, (_, i) => i);
    const { rows, others } = await repack(c, codes);
    expect(mismatches(c, codes, rows)).toEqual([]);
    expect(others).toBe(false);
  });
});

describe("quantise", () => {
  /** Rows that a rounding of scale or integer could get wrong, and ordinary ones. */
  function hardRows(columns: number, random: Random): Float32Array[] {
    const rows = [1e-9, 1e-4, 1, 3e4, 1e30].map((scale) => random.normals(columns, scale));
    rows.push(new Float32Array(columns));
    // All of one sign, and far from zero on one side: where the zero point is the lowest, the highest or cut.
    rows.push(
      random.normals(columns).map(Math.abs),
      random.normals(columns).map((x) => -Math.abs(x)),
    );
    rows.push(
      random.normals(columns).map((x) => x + 3),
      random.normals(columns, 1e37).map((x) => x - 1e38),
    );
    // Halfway between two integers of either layout, and the f32 next to it on each side.
    for (const largest of [127, 7, 255, 15]) {
      for (const scale of [2 ** -8, f16ToNumber(0x2e67), f16ToNumber(0x3bff), f16ToNumber(0x0401), 2 ** -24]) {
        rows.push(
          Float32Array.from({ length: columns }, (_, k) => {
            if (k % 32 === 5) return -largest * scale; // makes this the group's scale
            f32[0] = ((Math.floor(k / 3) % largest) + 0.5) * scale;
            f32Bits[0]! += (k % 3) - 1;
            return k & 1 ? -f32[0] : f32[0];
          }),
        );
      }
    }
    return rows;
  }

  const columnCounts = [4, 20, 32, 36, 64, 100, 132, 260, 2080];
  const layouts: (readonly [DenseFormat, GroupedFormat, number])[] = [
    ...columnCounts.flatMap((columns, i) =>
      GROUPED_FORMATS.map((to, j) => [DENSE_FORMATS[(i + j) % 3]!, to, columns] as const),
    ),
    ...DENSE_FORMATS.flatMap((from) => GROUPED_FORMATS.map((to) => [from, to, 96] as const)),
    ...(["q8", "q4", "q4z"] as const).map((to) => ["f32", to, 8196] as const),
  ];
  it.each(layouts)("turns %s into %s as the CPU does, %i columns", async (from, to, columns) => {
    const rows = hardRows(columns, new Random(columns));
    const all = rows.flatMap((row) => [...row]);
    const codes: Codes =
      from === "f32"
        ? new Uint32Array(Float32Array.from(all).buffer)
        : Uint16Array.from(all, from === "f16" ? (x) => Math.min(numberToF16(Math.abs(x)), 0x7bff) : numberToBf16);
    const published = [...codes].map((code) => {
      f32Bits[0] = code;
      return from === "f32" ? f32[0]! : from === "f16" ? f16ToNumber(code) : bf16ToNumber(code);
    });
    const c = { from, to, columns, rows: rows.length, firstRow: 1, rowStep: 2 };
    const found = await repackWords(c, codes);
    const used = usedWords(to, columns);
    found.rows.forEach((words, r) => {
      const row = Float32Array.from(published.slice(r * columns, (r + 1) * columns));
      expect([r, ...words.subarray(0, used)]).toEqual([r, ...quantiseRow(to, row).subarray(0, used)]);
    });
    expect(found.others).toBe(false);
  });
});
