/** `benchKernels` on the lane's device, over the cheapest cases. What it measures here says nothing of any GPU. */
import { afterAll, describe, expect, it } from "vitest";
import { benchKernels, parseReport, type KernelBenchProgress } from "../../src/bench/index.ts";
import { smallCases } from "../../src/bench/cases/index.ts";
import { pagesOf, Rehearsal, rowsOf, WeightPool } from "../../src/engine/rehearsal.ts";
import { openGpu } from "../../src/gpu/device.ts";
import { Stopwatch } from "../../src/gpu/timing.ts";
import { Pipelines } from "../../src/kernels/define.ts";
import { PATTERNS } from "../../src/kernels/fill.ts";
import { watchedDevice } from "../engine/device.ts";

describe("the kernel bench", () => {
  it("reports peaks and cases, and leaves nothing on the device", async () => {
    const { device, live } = await watchedDevice();
    const seen: KernelBenchProgress[] = [];
    const report = await benchKernels({
      device,
      filter: "m1 rope",
      quick: true,
      poolBytes: 16 << 20,
      agent: "test",
      onProgress: (progress) => seen.push(progress),
    });
    expect(live).toEqual({ buffers: 0, bytes: 0 });
    device.destroy();
    const { readGBs, f32GFLOPs, f16GFLOPs, dispatchUs, submitUs } = report.peaks;
    expect(Math.min(readGBs, f32GFLOPs)).toBeGreaterThan(0);
    expect(Math.min(dispatchUs, submitUs)).toBeGreaterThanOrEqual(0);
    expect(f16GFLOPs === null).toBe(!report.device.shaderF16);
    expect(report.cases.map((c) => c.name)).toEqual(["rope_write/smollm2-135m/f16/m1"]);
    const [one] = report.cases;
    expect(one).toMatchObject({ sane: true, boundBy: "memory" });
    expect(one!.dispatches.length).toBe(1);
    expect(report.agent).toBe("test");
    expect(parseReport(JSON.stringify(report))).toEqual(JSON.parse(JSON.stringify(report)));
    expect(seen.map((p) => [p.done, p.total])).toEqual([
      [0, 2],
      [1, 2],
      [2, 2],
    ]);
    expect(seen.at(-1)!.result).toEqual(one);
  });

  it("leaves out what does not fit the pool, and says so", async () => {
    const report = await benchKernels({ filter: "embed q8 m1", quick: true, poolBytes: 1 << 20 });
    expect(report.cases).toEqual([]);
    expect(report.skipped).toEqual([
      {
        name: "embed/smollm2-135m/q8/m1",
        reason: expect.stringMatching(/do not fit the 1048576 of the pool/) as string,
      },
    ]);
  });

  it("ends with an abort when told to, and frees everything", async () => {
    const { device, live } = await watchedDevice();
    const abort = new AbortController();
    const bench = benchKernels({
      device,
      filter: "m1",
      quick: true,
      signal: abort.signal,
      onProgress: () => abort.abort(),
    });
    await expect(bench).rejects.toMatchObject({ code: "abort" });
    expect(live.buffers).toBe(0);
    device.destroy();
  });
});

describe("a rehearsal", async () => {
  const gpu = await openGpu();
  afterAll(() => {
    expect(gpu.failure).toBeUndefined();
    gpu.close();
  });

  it("draws every small case once, within the pool's ranges", async () => {
    const pool = await WeightPool.allocate(gpu, 64 << 20);
    for (const { name, scene, setBytes, tableBytes = 16, draw } of smallCases()) {
      const rehearsal = await Rehearsal.open(gpu, scene);
      const [set] = pool.sets(setBytes, 1);
      const table = await rehearsal.table(tableBytes);
      const { graph, outputs } = await rehearsal.record(
        1,
        (g) => ({ result: draw(g, set!, table) }),
        undefined,
        uncompiled(),
      );
      expect([name, graph.ops.length > 0, outputs["result"]!.size > 0]).toEqual([name, true, true]);
      rehearsal.close();
    }
  });

  /** What is drawn has to hold together; compiling it all takes a software device minutes. */
  function uncompiled(): Pipelines {
    const pipelines = new Pipelines(gpu.device);
    pipelines.compile = () => Promise.resolve();
    return pipelines;
  }

  it("cuts its pool into distinct sets at offsets that bindings may have", async () => {
    const pool = await WeightPool.allocate(gpu, 10_000);
    expect(pool.bytes).toBe(9984);
    expect(pool.sets(1000, 100).map((r) => [r.offset, r.size])).toEqual(
      Array.from({ length: 9 }, (_, i) => [1024 * i, 1024]),
    );
    expect(pool.sets(1000, 2).length).toBe(2);
    expect(pool.sets(10_000, 2)).toEqual([]);
    expect(pool.sets(0, 1).length).toBe(1);
  });

  it("counts its rows and pages", () => {
    const scene = {
      segments: [
        { rows: 1, length: 31 },
        { rows: 2, length: 31 },
        { rows: 64, length: 0 },
      ],
    };
    expect([rowsOf(scene), pagesOf(scene), pagesOf({ ...scene, pageSize: 64 })]).toEqual([67, 1 + 2 + 2, 3]);
  });

  it("times a pass on the clock it says", async () => {
    const stopwatch = await Stopwatch.create(gpu);
    expect(stopwatch.clock).toBe(gpu.device.features.has("timestamp-query") ? "timestamps" : "queue");
    const rehearsal = await Rehearsal.open(gpu, { segments: [{ rows: 1, length: 0 }] });
    const pool = await WeightPool.allocate(gpu, 32 << 20);
    const { programs } = await rehearsal.record(1, (graph) => pool.fillWith(graph, PATTERNS.f16));
    const before = performance.now();
    const ms = await stopwatch.pass(programs, 4);
    expect(ms).toBeGreaterThan(0);
    expect(ms).toBeLessThan(performance.now() - before + 1);
    stopwatch.close();
    rehearsal.close();
  });
});
