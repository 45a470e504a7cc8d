import { Usage, type Arena } from "../gpu/arena.ts";
import type { Gpu } from "../gpu/device.ts";
import { Readback } from "../gpu/readback.ts";
import { submit } from "../gpu/pass.ts";
import type { Rehearsal, Drawing } from "../engine/rehearsal.ts";
import type { Range } from "../kernels/batch.ts";
import type { KernelSource, Pipelines } from "../kernels/define.ts";
import type { Graph } from "../kernels/graph.ts";

/** What one dispatch of a case is. */
export interface DispatchCount {
  readonly kernel: string;
  readonly workgroups: number;
  /**
   * Barriers that a workgroup runs through, on average over the grid: counted by running a copy of the kernel whose first lane
   * adds one after each. Null where that cannot be done (`isCountable`).
   */
  readonly barriers: number | null;
}

const COUNTER = "barriersRun";
const MAX_STORAGE = 8;

/** Whether a kernel has a barrier to count. */
export function hasBarriers({ wgsl, fragments = [] }: KernelSource): boolean {
  return [...fragments, wgsl].some((text) => ANY_BARRIER.test(text));
}

/** Whether all its barriers can be counted: each is a statement, and there is room for one more binding. */
export function isCountable({ wgsl, fragments = [], bindings }: KernelSource): boolean {
  const found = (pattern: RegExp): number =>
    `${fragments.join("\n")}\n${wgsl}`.match(new RegExp(pattern, "g"))?.length ?? 0;
  return bindings.length < MAX_STORAGE && found(ANY_BARRIER) === found(BARRIER);
}

const ANY_BARRIER = /\b(?:workgroupBarrier|storageBarrier|workgroupUniformLoad)\s*\(/;
const BARRIER =
  /\b(?:workgroupBarrier|storageBarrier)\s*\(\s*\)\s*;|(?:\breturn\s+)?\bworkgroupUniformLoad\s*\([^;{}]*;/;

/** The same kernel, counting: its entry point notes which lane is the first, and each barrier is followed by the count. */
export function countingSource(source: KernelSource): KernelSource {
  const counted = (text: string): string =>
    text.replace(new RegExp(BARRIER, "g"), (barrier) =>
      barrier.startsWith("return") ? `countBarrier(); ${barrier}` : `${barrier} countBarrier();`,
    );
  return {
    ...source,
    name: `${source.name}, counting`,
    fragments: [...(source.fragments ?? []).map(counted), COUNT_WGSL],
    wgsl: noteFirstLane(counted(source.wgsl)),
    bindings: [...source.bindings, { name: COUNTER, access: "read_write", type: "array<atomic<u32>>" }],
  };
}

const COUNT_WGSL = /* wgsl */ `
var<private> firstLane: bool = false;
fn countBarrier() {
  if (firstLane) { atomicAdd(&${COUNTER}[0], 1u); }
}
`;

/** Sets `firstLane` at the head of main, by the local index that it takes already, else by one of its own. */
function noteFirstLane(wgsl: string): string {
  const index = /@builtin\(local_invocation_index\)\s*(\w+)/.exec(wgsl)?.[1];
  const own = "@builtin(local_invocation_index) countedLane: u32";
  return wgsl.replace(/\bfn main\s*\(([\s\S]*?)\)\s*\{/, (_, inputs: string) => {
    const parameters = index ? inputs : inputs.trim() ? `${own}, ${inputs}` : own;
    return `fn main(${parameters}) {\n  firstLane = ${index ?? "countedLane"} == 0u;`;
  });
}

/** The dispatches of a drawing, their barriers counted. `pipelines` is where the counting copies are compiled. */
export async function countDispatches(
  gpu: Gpu,
  rehearsal: Rehearsal,
  pipelines: Pipelines,
  draw: Drawing,
  drawn: Graph,
): Promise<DispatchCount[]> {
  const countable = drawn.ops.map(({ kernel: { source } }) => hasBarriers(source) && isCountable(source));
  const counts = countable.some(Boolean)
    ? await runCounting(gpu, rehearsal, pipelines, draw, drawn, countable)
    : countable.map(() => 0);
  return drawn.ops.map(({ kernel: { source }, grid }, i) => {
    const workgroups = grid[0] * grid[1] * grid[2];
    const barriers = hasBarriers(source) ? (countable[i] ? counts[i]! / workgroups : null) : 0;
    return { kernel: source.name, workgroups, barriers };
  });
}

async function runCounting(
  gpu: Gpu,
  rehearsal: Rehearsal,
  pipelines: Pipelines,
  draw: Drawing,
  drawn: Graph,
  countable: readonly boolean[],
): Promise<number[]> {
  const { arena } = rehearsal;
  const stride = 256; // where a binding may begin
  const counter = await zeroed(arena, countable.length * stride);
  const recording = await rehearsal.record(
    1,
    (graph) =>
      draw(
        redirected(graph, countable, (i) => ({ buffer: counter, offset: i * stride, size: 4 })),
        0,
      ),
    drawn.tuning,
    pipelines,
  );
  const readback = await Readback.create(arena, "barrier counts", 1, counter.size);
  const pending = readback.take(counter, counter.size);
  submit(gpu, recording.programs, [pending.copy]);
  const words = new Uint32Array(await pending.read());
  return countable.map((_, i) => words[(i * stride) / 4]!);
}

function zeroed(arena: Arena, bytes: number): Promise<GPUBuffer> {
  return arena.allocate("state", "barrier counts", bytes, Usage.storage | Usage.copySrc);
}

/** Lets a graph take the counting copies of what is drawn on it from now on. */
function redirected(graph: Graph, countable: readonly boolean[], slot: (op: number) => Range): Graph {
  const dispatch = graph.dispatch.bind(graph);
  let op = 0;
  graph.dispatch = (source, params, bindings, grid) => {
    const i = op++;
    if (!countable[i]) return dispatch(source, params, bindings, grid);
    dispatch(countingSource(source), params, { ...bindings, [COUNTER]: slot(i) }, grid);
  };
  return graph;
}
