/** Runs rows of logits through the sampler with processors, and brings back every stage. */
import { expect } from "vitest";
import { maskWords, type BatchPlan } from "../../src/kernels/batch.ts";
import type { Tensor } from "../../src/kernels/graph.ts";
import { sample } from "../../src/kernels/sample.ts";
import { MAX_LOGPROBS, type SamplingOptions } from "../../src/kernels/sampling.ts";
import type { Tuning } from "../../src/kernels/tuning.ts";
import { UNTOUCHED, type KernelBench } from "../support/kernel-bench.ts";

/** One sample: its slot's options, its logits. */
export interface Row extends SamplingOptions {
  logits: Float32Array<ArrayBuffer>;
  counter?: number;
  forced?: number;
  /** Tokens that the mask allows; without it the sample is not masked. */
  allowed?: readonly number[];
  /** Bit 31: in the prompt; the rest: how often drawn. */
  counts?: Uint32Array<ArrayBuffer>;
}

/** What came of one row. */
export interface Result {
  token: number;
  processed: Float32Array;
  distribution: Float32Array;
  /** Tokens that can be drawn. */
  kept: number[];
  /** Of the chosen token, then of the best. */
  logprobs: { token: number; value: number }[];
  counts: Uint32Array | undefined;
  state: { token: number; counter: number };
}

export const kept = (row: Float32Array): number[] => [...row.keys()].filter((token) => row[token]! > -1e30);

export interface RunOptions {
  /** Samples that the program is recorded for, beyond those that there are. */
  spare?: number;
  penalties?: boolean;
  tuning?: Partial<Tuning>;
}

export function runRows(bench: KernelBench, rows: readonly Row[], options: RunOptions = {}): Promise<Result[]> {
  const { spare = 1, penalties = false, tuning = {} } = options;
  const vocab = rows[0]!.logits.length;
  const recorded = rows.length + spare;
  const masks = rows.map(({ allowed }) => {
    const mask = new Uint32Array(maskWords(vocab));
    for (const token of allowed ?? []) mask[token >> 5]! |= 1 << (token & 31);
    return mask;
  });
  const plan: Partial<BatchPlan> = {
    samples: rows.map(({ forced, allowed }, i) => ({
      row: i,
      slot: i,
      ...(forced !== undefined && { token: forced }),
      ...(allowed && { masked: true }),
    })),
  };
  const slots = rows.map((row, i) => ({ ...row, mask: masks[i]!, length: 7 }));
  const limits = { vocabSize: vocab, slots: recorded, samples: recorded, penalties };
  return bench.run(
    { plan, slots, limits, samples: recorded, tuning },
    (graph) => {
      const logits = new Float32Array(recorded * vocab).fill(NaN);
      rows.forEach((row, i) => logits.set(row.logits, i * vocab));
      const input = graph.input("samples", vocab, logits);
      const { distribution, logprobs } = sample(graph, input, { filters: true, logprobs: true });
      return { distribution, logprobs: logprobs!, processed: graph.ops[0]!.bindings["processed"] as Tensor };
    },
    async (program, { distribution, processed, logprobs }) => {
      const width = 2 * (1 + MAX_LOGPROBS);
      const read = async (tensor: Tensor): Promise<Uint32Array<ArrayBuffer>> => {
        const words = await program.words(tensor);
        expect(words.subarray(rows.length * tensor.width).every((word) => word === UNTOUCHED)).toBe(true);
        return words;
      };
      const [words, logits, ranked] = [await read(distribution), await read(processed), await read(logprobs)];
      const tokens = await program.words(program.batch.tokens);
      const states = await program.states();
      const counts = program.batch.counts && (await program.words(program.batch.counts));
      return rows.map((_, i): Result => {
        const row = new Float32Array(words.buffer, i * vocab * 4, vocab);
        const best = ranked.slice(i * width, (i + 1) * width);
        const values = new Float32Array(best.buffer);
        return {
          token: tokens[i]!,
          processed: new Float32Array(logits.buffer, i * vocab * 4, vocab),
          distribution: row,
          kept: kept(row),
          logprobs: Array.from({ length: width / 2 }, (_, n) => ({ token: best[2 * n]!, value: values[2 * n + 1]! })),
          counts: counts?.subarray(i * vocab, (i + 1) * vocab),
          state: states[i]!,
        };
      });
    },
  );
}
