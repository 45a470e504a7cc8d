/** The first-run tuner on the lane's device. What it decides by are numbers that the test gives, beside the real runs. */
import { describe, expect, it } from "vitest";
import { tunedFor, type TrialShapes, type TuneOptions } from "../../src/engine/trial.ts";
import { candidatesOf, isSoftware } from "../../src/engine/tune.ts";
import { openGpu, type Gpu } from "../../src/gpu/device.ts";
import { PORTABLE, tuningFor, type Tuning } from "../../src/kernels/tuning.ts";

const SHAPES: TrialShapes = {
  hidden: 64,
  intermediate: 64,
  heads: 2,
  kvHeads: 1,
  headDim: 16,
  layout: "f32",
  cache: "f16",
  pageSize: 64,
};

function memory(kept: Record<string, string> = {}) {
  return {
    kept,
    read: (key: string) => kept[key] ?? null,
    write: (key: string, value: string) => void (kept[key] = value),
  };
}

async function withGpu<T>(act: (gpu: Gpu) => Promise<T>): Promise<T> {
  const gpu = await openGpu();
  try {
    const result = await act(gpu);
    expect(gpu.failure).toBeUndefined();
    expect(gpu.arena.bytes).toBe(0);
    return result;
  } finally {
    gpu.close();
  }
}

describe("the tuner", () => {
  it("runs every candidate there and back, takes the quickest by the numbers, and keeps it", async () => {
    await withGpu(async (gpu) => {
      const base = tuningFor(gpu.info);
      const winner = candidatesOf("matVec", gpu.info, base)[2]!;
      const ran: string[] = [];
      const storage = memory();
      const options: TuneOptions = {
        mode: "force",
        storage,
        agent: "test",
        budgetMs: Infinity,
        measure: async (candidate, run) => {
          expect(await run()).toBeGreaterThanOrEqual(0);
          ran.push(candidate.name);
          return candidate.name === winner.name ? 1 : 2;
        },
      };
      // One group is enough to run for real: candidates are programs to compile, which software takes its time for.
      const tuned = await tunedFor(gpu, base, SHAPES, { ...options, groups: ["matVec"] });
      expect(tuned).toEqual({ ...base, ...winner.tuning });
      const there = candidatesOf("matVec", gpu.info, base).map((c) => c.name);
      expect(ran).toEqual([...there, ...there.toReversed()]);
      const [text] = Object.values(storage.kept);
      expect(JSON.parse(text!)).toEqual({ matVec: winner.name });
    });
  });

  it("keeps to its budget: what is unfinished is not chosen, and goes on at the next load", async () => {
    await withGpu(async (gpu) => {
      let now = 0;
      const storage = memory();
      const options: TuneOptions = {
        mode: "force",
        storage,
        groups: ["split"],
        now: () => now,
        measure: async (_, run) => {
          expect(await run()).toBeGreaterThanOrEqual(0);
          return (now += 200);
        },
      };
      expect(await tunedFor(gpu, PORTABLE, SHAPES, options)).toEqual(PORTABLE);
      expect(Object.values(storage.kept)).toEqual(["{}"]);
    });
  });

  it("measures nothing where all is known, forced, skipped, deterministic or on a software device", async () => {
    await withGpu(async (gpu) => {
      const never: TuneOptions = { measure: () => Promise.reject(new Error("measured")), groups: ["split"] };
      const same = (options: TuneOptions, base: Tuning = PORTABLE) =>
        expect(tunedFor(gpu, base, SHAPES, { ...never, ...options })).resolves.toBe(base);
      await same({ mode: "skip" });
      await same({}, { ...PORTABLE, deterministic: true });
      if (isSoftware(gpu.info)) await same({ mode: "auto" });
    });
  });

  it("leaves the table's choice where a trial fails, and where storage does", async () => {
    await withGpu(async (gpu) => {
      const storage = {
        read: () => Promise.reject(new Error("no storage")),
        write: () => Promise.reject(new Error("no storage")),
      };
      const measure = (): Promise<number> => Promise.reject(new Error("no clock"));
      const options: TuneOptions = { mode: "force", storage, measure, groups: ["split"] };
      expect(await tunedFor(gpu, PORTABLE, SHAPES, options)).toEqual(PORTABLE);
    });
  });
});
