/** Barriers, counted by running a copy of the kernel that counts them. */
import { afterAll, describe, expect, it } from "vitest";
import { countDispatches, countingSource, hasBarriers, isCountable } from "../../src/bench/count.ts";
import { Rehearsal } from "../../src/engine/rehearsal.ts";
import { openGpu } from "../../src/gpu/device.ts";
import { Pipelines, type KernelSource } from "../../src/kernels/define.ts";
import type { Graph } from "../../src/kernels/graph.ts";

const gpu = await openGpu();
const counting = new Pipelines(gpu.device);
const rehearsal = await Rehearsal.open(gpu, { segments: [{ rows: 1, length: 0 }] });
afterAll(() => {
  rehearsal.close();
  expect(gpu.failure).toBeUndefined();
  gpu.close();
});

function kernel(wgsl: string, fragments: string[] = [], more = 0): KernelSource {
  const bindings = Array.from({ length: 1 + more }, (_, i) => `out${i === 0 ? "" : i}`);
  return {
    name: "counted",
    wgsl,
    fragments,
    params: { times: "u32" },
    bindings: bindings.map((name) => ({ name, access: "read_write", type: "array<u32>" })),
  };
}

function draw(source: KernelSource, times: number, grid: [number, number?, number?]): (graph: Graph) => void {
  return (graph) => {
    const bindings = Object.fromEntries(source.bindings.map(({ name }) => [name, graph.tensor("one", 64)]));
    graph.dispatch(source, { times }, bindings, grid);
  };
}

async function count(source: KernelSource, times: number, grid: [number, number?, number?]) {
  const drawing = draw(source, times, grid);
  const { graph } = await rehearsal.record(1, drawing);
  return countDispatches(gpu, rehearsal, counting, drawing, graph);
}

const MAIN = "@compute @workgroup_size(64)\nfn main(@builtin(local_invocation_index) lane: u32";
const LOOP = "for (var i = 0u; i < params.times; i++) { workgroupBarrier(); }\n  out[lane] = lane;";

describe("barriers", () => {
  it.each([0, 1, 5, 100])("a loop of %i", async (times) => {
    expect(await count(kernel(`${MAIN}) {\n  ${LOOP}\n}`), times, [3])).toEqual([
      { kernel: "counted", workgroups: 3, barriers: times },
    ]);
  });

  it("of workgroups that leave early count as none: the mean over the grid", async () => {
    const source = kernel(`${MAIN}, @builtin(workgroup_id) g: vec3u) {\n  if (g.x > 0u) { return; }\n  ${LOOP}\n}`);
    const [counted] = await count(source, 6, [2, 3]);
    expect(counted).toEqual({ kernel: "counted", workgroups: 6, barriers: 3 });
  });

  it("in a fragment's function, in storage, and in a uniform load, returned or not", async () => {
    const fragment = `var<workgroup> shared_: u32;
fn both() -> u32 { storageBarrier(); return workgroupUniformLoad(&shared_); }`;
    const main = `${MAIN}) {\n  let a = both();\n  let b = workgroupUniformLoad(&shared_);\n  out[lane] = a + b;\n}`;
    expect((await count(kernel(main, [fragment]), 0, [1]))[0]!.barriers).toBe(3);
  });

  it("where main takes no local index, or nothing at all", async () => {
    for (const inputs of [
      "",
      "@builtin(workgroup_id) g: vec3u",
      "@builtin(local_invocation_id) id: vec3u,\n  @builtin(workgroup_id) g: vec3u",
    ]) {
      const main = `@compute @workgroup_size(8, 4)\nfn main(${inputs}) {\n  workgroupBarrier();\n  out[0] = 1u;\n}`;
      expect((await count(kernel(main), 0, [2]))[0]!.barriers).toBe(1);
    }
  });

  it("are none without running anything where the text has none", async () => {
    const before = counting.size;
    const source = kernel(`${MAIN}) {\n  out[lane] = params.times;\n}`);
    expect(hasBarriers(source)).toBe(false);
    expect((await count(source, 3, [2]))[0]!.barriers).toBe(0);
    expect(counting.size).toBe(before);
  });

  it("are not known where eight buffers are bound, or where a load is no statement", async () => {
    const full = kernel(`${MAIN}) {\n  workgroupBarrier();\n  out[lane] = 1u;\n}`, [], 7);
    expect(isCountable(full)).toBe(false);
    expect((await count(full, 0, [1]))[0]!.barriers).toBeNull();
    const nested = kernel("if (workgroupUniformLoad(&x) == 0u) { return; }");
    expect([hasBarriers(nested), isCountable(nested)]).toEqual([true, false]);
  });

  it("leave the kernel's own results as they were", async () => {
    const source = kernel(`${MAIN}) {\n  ${LOOP}\n}`);
    expect(countingSource(source).bindings.length).toBe(2);
    expect(countingSource(source).wgsl).toContain("workgroupBarrier(); countBarrier();");
    expect(source.wgsl).not.toContain("countBarrier");
  });
});
