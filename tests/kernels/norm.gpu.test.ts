import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { addNorm, norm, type Norm } from "../../src/kernels/norm.ts";
import { expectClose } from "../reference/compare.ts";
import { normReference } from "../reference/norm.ts";
import { Random } from "../reference/random.ts";
import { KernelBench, UNTOUCHED } from "../support/kernel-bench.ts";

interface Case {
  kind: "rms" | "layer";
  width: number;
  rows?: number;
  groups?: number;
  ownGains?: boolean;
  gain?: boolean;
  bias?: boolean;
  offset?: number;
  eps?: number;
  /** x + scale · delta is normalised, and the sum comes out too. */
  add?: { scale: number };
  residual?: boolean;
  /** Sampled rows. */
  gather?: readonly number[];
  magnitude?: number;
  /** Added to every element of x. */
  mean?: number;
  /** Rows of zeros. */
  zero?: boolean;
  /** Rows the program is recorded for beyond the batch's. */
  spare?: number;
  subgroups?: false;
}

const GAIN = { gain: true } as const;

const CASES: Case[] = [
  // Around the widths where lanes, and the number of them, run out.
  ...(["rms", "layer"] as const).flatMap((kind) =>
    [4, 8, 60, 252, 256, 260, 508, 512, 516, 1020, 1024, 1028, 4100].map((width): Case => ({ kind, width, ...GAIN })),
  ),
  { kind: "rms", width: 16384, ...GAIN },
  { kind: "layer", width: 20000, ...GAIN, bias: true },
  { kind: "rms", width: 64 },
  { kind: "layer", width: 64 },
  { kind: "layer", width: 132, bias: true },
  { kind: "layer", width: 132, ...GAIN, bias: true, rows: 5, spare: 3 },
  // Without subgroups, where the device has them.
  { kind: "rms", width: 512, ...GAIN, subgroups: false },
  { kind: "layer", width: 1028, ...GAIN, bias: true, subgroups: false },
  // Gemma's 1 + w.
  { kind: "rms", width: 640, ...GAIN, offset: 1 },
  { kind: "rms", width: 64, offset: 1 },
  // Groups of a row.
  { kind: "rms", width: 64, groups: 4, ...GAIN, rows: 3 },
  { kind: "rms", width: 60, groups: 5, ...GAIN, rows: 3, spare: 2 },
  { kind: "layer", width: 1536, groups: 2, ...GAIN, bias: true },
  { kind: "rms", width: 80, groups: 4, ...GAIN, ownGains: true },
  { kind: "layer", width: 80, groups: 2, ...GAIN, bias: true, ownGains: true },
  { kind: "rms", width: 8192, groups: 64, ...GAIN },
  // The sum comes out too.
  { kind: "rms", width: 512, ...GAIN, add: { scale: 1 } },
  { kind: "rms", width: 516, ...GAIN, add: { scale: 0.22 }, rows: 7, spare: 2 },
  { kind: "layer", width: 260, ...GAIN, bias: true, add: { scale: 1 } },
  { kind: "rms", width: 64, groups: 2, ...GAIN, add: { scale: -3 } },
  // A residual after the norm.
  { kind: "rms", width: 260, ...GAIN, offset: 1, residual: true },
  { kind: "layer", width: 1028, ...GAIN, bias: true, residual: true, rows: 4 },
  // Sampled rows.
  { kind: "rms", width: 128, ...GAIN, gather: [6, 0, 3], rows: 7 },
  { kind: "rms", width: 128, ...GAIN, gather: [5], rows: 7, residual: true, spare: 2 },
  { kind: "layer", width: 36, ...GAIN, bias: true, gather: [1, 1, 0], rows: 2 },
  // Large and small numbers, and none.
  { kind: "rms", width: 4096, ...GAIN, magnitude: 1e4 },
  { kind: "rms", width: 4096, ...GAIN, magnitude: 1e5 },
  { kind: "layer", width: 2048, ...GAIN, magnitude: 1e5 },
  { kind: "rms", width: 256, ...GAIN, magnitude: 1e-3 },
  { kind: "rms", width: 256, ...GAIN, magnitude: 1e-3, eps: 1e-12 },
  { kind: "rms", width: 256, ...GAIN, magnitude: 1e-18 },
  { kind: "layer", width: 256, ...GAIN, magnitude: 1e-18 },
  { kind: "rms", width: 256, ...GAIN, zero: true },
  { kind: "layer", width: 256, ...GAIN, bias: true, zero: true },
  // Far from zero: the mean's own rounding would show.
  { kind: "layer", width: 1024, ...GAIN, mean: 1e3 },
  { kind: "layer", width: 1024, ...GAIN, mean: 1e5 },
  { kind: "layer", width: 4096, ...GAIN, mean: -1e5, magnitude: 10 },
  { kind: "rms", width: 1024, ...GAIN, mean: 1e5 },
];

function title(c: Case): string {
  const { kind, width, rows = 2, ...rest } = c;
  const traits = Object.entries(rest).map(([name, value]) =>
    value === true ? name : `${name} ${JSON.stringify(value)}`,
  );
  return `${kind} of ${rows} × ${width}${traits.length > 0 ? `: ${traits.join(", ")}` : ""}`;
}

let bench: KernelBench;
beforeAll(async () => {
  bench = await KernelBench.open();
});
afterAll(() => bench.close());

describe("norm", () => {
  it.each(CASES.map((c) => [title(c), c] as const))("%s", async (_, c) => {
    const { kind, width, rows = 2, groups = 1, ownGains = false, offset = 0, magnitude = 1, mean = 0, spare = 0 } = c;
    const eps = c.eps ?? 1e-6;
    const random = new Random(width + rows);
    const normals = (count: number): Float32Array<ArrayBuffer> =>
      c.zero ? new Float32Array(count) : random.normals(count, magnitude).map((v) => v + mean);
    const [x, delta] = [normals((rows + spare) * width), normals((rows + spare) * width)];
    const results = c.gather?.length ?? rows;
    const residual = random.normals((results + spare) * width, magnitude);
    const per = ownGains ? width : width / groups;
    const [gain, bias] = [random.normals(per), random.normals(per)];

    const found = await bench.run(
      {
        plan: {
          segments: [{ slot: 0, tokens: new Array<number>(rows).fill(0) }],
          samples: (c.gather ?? []).map((row) => ({ row, slot: 0 })),
        },
        slots: [{}],
        rows: rows + spare,
        samples: results + spare,
        ...(c.subgroups === false && { tuning: { subgroups: false } }),
      },
      (graph) => {
        const spec: Norm = {
          kind,
          eps,
          groups,
          ownGains,
          offset,
          ...(c.gain && { gain: graph.upload(gain) }),
          ...(c.bias && { bias: graph.upload(bias) }),
        };
        const input = graph.input("rows", width, x);
        if (c.add) return addNorm(graph, input, graph.input("rows", width, delta), spec, c.add);
        const extent = c.gather ? "samples" : "rows";
        return {
          sum: null,
          out: norm(graph, input, spec, {
            gather: c.gather !== undefined,
            ...(c.residual && { residual: graph.input(extent, width, residual) }),
          }),
        };
      },
      async (program, { sum, out }) => ({ out: await program.words(out), sum: sum && (await program.words(sum)) }),
    );

    const inputs = Float64Array.from(x, (v, i) => v + (c.add ? c.add.scale * delta[i]! : 0));
    const expected = (c.gather ?? Array.from({ length: rows }, (_, i) => i)).flatMap((row, m) =>
      Array.from({ length: groups }, (_, g) => {
        const own = (v: Float32Array): Float32Array => (ownGains ? v.subarray((g * width) / groups) : v);
        const start = row * width + (g * width) / groups;
        const y = normReference(inputs.subarray(start, start + width / groups), {
          kind,
          eps,
          offset,
          ...(c.gain && { gain: own(gain) }),
          ...(c.bias && { bias: own(bias) }),
        });
        const at = m * width + (g * width) / groups;
        return [...y].map((v, k) => v + (c.residual ? residual[at + k]! : 0));
      }).flat(),
    );
    const check = (words: Uint32Array<ArrayBuffer>, wanted: ArrayLike<number>): void => {
      expectClose(new Float32Array(words.slice(0, results * width).buffer), wanted);
      expect(words.subarray(results * width).every((word) => word === UNTOUCHED)).toBe(true);
    };
    check(found.out, expected);
    if (found.sum) check(found.sum, inputs.subarray(0, rows * width));
  });

  it.each(["rms", "layer"] as const)("%s gives a row the same bits alone as in a batch, and twice", async (kind) => {
    const width = 1028;
    const x = new Random(4).normals(9 * width);
    const run = (rows: number, values: Float32Array<ArrayBuffer>): Promise<Uint32Array[]> =>
      bench.run(
        { plan: { segments: [{ slot: 0, tokens: new Array<number>(rows).fill(0) }] }, slots: [{}] },
        (graph) => norm(graph, graph.input("rows", width, values), { kind, eps: 1e-5 }),
        async (program, out) => {
          const first = await program.words(out);
          program.submit();
          return [first, await program.words(out)];
        },
      );
    const [all, again] = await run(9, x);
    expect(again).toEqual(all);
    for (const row of [0, 4, 8]) {
      const [alone] = await run(1, x.slice(row * width, (row + 1) * width));
      expect(alone).toEqual(all!.subarray(row * width, (row + 1) * width));
    }
  });
});
