import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ALL_ANCESTORS, FROM_STATE, NO_TOKEN, type BatchPlan } from "../../src/kernels/batch.ts";
import type { KernelSource } from "../../src/kernels/define.ts";
import { KernelBench } from "../support/kernel-bench.ts";

let bench: KernelBench;
beforeAll(async () => {
  bench = await KernelBench.open();
});
afterAll(() => bench.close());

/** Reads the batch as kernels do, field by field, and writes one row of six numbers for each thing in it. */
const PROBE: KernelSource = {
  name: "probe",
  params: {},
  bindings: [
    { name: "rows", access: "read", type: "array<Row>" },
    { name: "segments", access: "read", type: "array<Segment>" },
    { name: "samples", access: "read", type: "array<Sample>" },
    { name: "copies", access: "read", type: "array<vec2u>" },
    { name: "states", access: "read", type: "array<State>" },
    { name: "pages", access: "read", type: "array<Page>" },
    { name: "out", access: "read_write", type: "array<u32>" },
  ],
  wgsl: /* wgsl */ `
    var<private> at: u32;
    fn put(a: u32, b: u32, c: u32, d: u32, e: u32, f: u32) {
      let values = array<u32, 6>(a, b, c, d, e, f);
      for (var i = 0u; i < 6u; i++) { out[at + i] = values[i]; }
      at += 6u;
    }
    @compute @workgroup_size(1) fn main() {
      at = 0u;
      put(batch.rows, batch.segments, batch.samples, batch.copies, 0u, 0u);
      for (var i = 0u; i < batch.rows; i++) {
        let r = rows[i];
        put(r.slot, r.offset, r.token, r.ancestors, r.segment, r.adapter);
      }
      for (var i = 0u; i < batch.segments; i++) {
        let s = segments[i];
        put(s.slot, s.first, s.count, s.accept, 0u, 0u);
      }
      for (var i = 0u; i < batch.samples; i++) {
        let s = samples[i];
        put(s.row, s.slot, s.token, s.masked, 0u, 0u);
      }
      for (var i = 0u; i < batch.copies; i++) { put(copies[i].x, copies[i].y, 0u, 0u, 0u, 0u); }
      for (var i = 0u; i < 2u; i++) {
        let s = states[i];
        put(s.length, s.position, s.token, s.counter, s.accepted, s.regime);
        put(s.ended, pages[i * 8u + 1u].page, 0u, 0u, 0u, 0u);
      }
    }`,
};

async function probe(plan: BatchPlan, count: number): Promise<number[][]> {
  const slots = [
    { length: 11, position: 12, token: 13, counter: 14, accepted: 15, regime: 18, ended: 19, pages: [16, 17] },
    { length: 21, position: 22, token: 23, counter: 24, accepted: 25, regime: 28, ended: 29, pages: [26, 27] },
  ];
  return bench.run(
    { plan, slots },
    (graph) => {
      const out = graph.upload(new Uint32Array(count * 6));
      const { rows, segments, samples, copies, state, pageTable } = graph.batch;
      graph.dispatch(PROBE, {}, { rows, segments, samples, copies, states: state, pages: pageTable, out }, [1]);
      return out;
    },
    async (program, out) => {
      const words = [...(await program.words(out))];
      return Array.from({ length: count }, (_, i) => words.slice(i * 6, i * 6 + 6));
    },
  );
}

const STATES = [
  [11, 12, 13, 14, 15, 18],
  [19, 17, 0, 0, 0, 0],
  [21, 22, 23, 24, 25, 28],
  [29, 27, 0, 0, 0, 0],
];

describe("batch", () => {
  it("is on the GPU what the plan says", async () => {
    const plan: BatchPlan = {
      segments: [
        { slot: 5, tokens: null },
        { slot: 1, tokens: [7, 8, 9], ancestors: [1, 3, 5], accept: true },
        { slot: 0, tokens: [4] },
      ],
      samples: [
        { row: 3, slot: 1, masked: true },
        { row: 0, slot: 5, token: 6 },
      ],
      copies: [{ from: 3, to: 2 }],
    };
    expect(await probe(plan, 16)).toEqual([
      [5, 3, 2, 1, 0, 0],
      [5, 0, FROM_STATE, ALL_ANCESTORS, 0, 0],
      [1, 0, 7, 1, 1, 0],
      [1, 1, 8, 3, 1, 0],
      [1, 2, 9, 5, 1, 0],
      [0, 0, 4, ALL_ANCESTORS, 2, 0],
      [5, 0, 1, 0, 0, 0],
      [1, 1, 3, 1, 0, 0],
      [0, 4, 1, 0, 0, 0],
      [3, 1, NO_TOKEN, 1, 0, 0],
      [0, 5, 6, 0, 0, 0],
      [3, 2, 0, 0, 0, 0],
      ...STATES,
    ]);
  });

  it("may be empty", async () => {
    expect(await probe({ segments: [], samples: [], copies: [] }, 5)).toEqual([[0, 0, 0, 0, 0, 0], ...STATES]);
  });

  it("takes as many rows, segments and samples as its limits", async () => {
    const plan: BatchPlan = {
      segments: Array.from({ length: 8 }, (_, slot) => ({ slot, tokens: [1, 2, 3, 4, 5, 6, 7, slot] })),
      samples: Array.from({ length: 64 }, (_, row) => ({ row, slot: row >> 3 })),
      copies: Array.from({ length: 8 }, (_, i) => ({ from: i, to: 100 + i })),
    };
    const found = await probe(plan, 1 + 64 + 8 + 64 + 8 + 4);
    expect(found[0]).toEqual([64, 8, 64, 8, 0, 0]);
    expect(found[64]).toEqual([7, 7, 7, ALL_ANCESTORS, 7, 0]);
    expect(found[72]).toEqual([7, 56, 8, 0, 0, 0]);
    expect(found[136]).toEqual([63, 7, NO_TOKEN, 0, 0, 0]);
    expect(found[144]).toEqual([7, 107, 0, 0, 0, 0]);
    expect(found.slice(145)).toEqual(STATES);
  });
});
