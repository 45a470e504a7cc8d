import { invariant, roundUp } from "../base/assert.ts";
import { Usage, type Arena } from "../gpu/arena.ts";
import type { Dispatch } from "../gpu/pass.ts";
import type { Batch, Range } from "./batch.ts";
import { packParams, type Kernel, type KernelSource, type Pipelines } from "./define.ts";
import { PORTABLE, type Tuning } from "./tuning.ts";

/**
 * An activation, [rows, width] row-major, f32 unless its kernels say otherwise. `extent` says what its rows are: the
 * batch's, the sampled ones, or one row that does not grow with the batch ("one": counts, offsets, work lists).
 */
export interface Tensor {
  readonly id: number;
  readonly extent: "rows" | "samples" | "one";
  readonly width: number;
}

interface Op {
  label: string;
  kernel: Kernel;
  params: Record<string, number>;
  bindings: Record<string, Tensor | Range>;
  grid: readonly [number, number, number];
}

/**
 * What a model's `forward` draws: operations over virtual tensors. `GraphBuffers` then gives each tensor a buffer and
 * turns the graph into a program. Tensors share buffers once nothing reads them any more, which makes the ping-pong
 * (WebGPU refuses one buffer as both read and written in a dispatch) a matter of course instead of a duty.
 */
export class Graph {
  readonly ops: Op[] = [];
  private tensors = 0;

  constructor(
    readonly pipelines: Pipelines,
    readonly batch: Batch,
    /** Rows and samples this program is recorded for; a batch may have fewer. */
    readonly rows: number,
    readonly samples: number,
    /** Which variants the kernels take; the portable ones where absent. */
    readonly tuning: Tuning = PORTABLE,
    /** Entries of the longest sequence that this program is run for, its own rows among them. */
    readonly maxLength = Infinity,
  ) {}

  tensor(extent: Tensor["extent"], width: number): Tensor {
    return { id: this.tensors++, extent, width };
  }

  /** How many rows a tensor of this extent has in this program. */
  count(extent: Tensor["extent"]): number {
    return { rows: this.rows, samples: this.samples, one: 1 }[extent];
  }

  dispatch(
    source: KernelSource,
    params: Record<string, number>,
    bindings: Record<string, Tensor | Range>,
    grid: readonly [x: number, y?: number, z?: number],
  ): void {
    const full = [grid[0], grid[1] ?? 1, grid[2] ?? 1] as const;
    invariant(
      full.every((n) => Number.isInteger(n) && n >= 1 && n <= 65535),
      `kernel ${source.name}: grid ${full.join(" × ")}`,
    );
    const names = source.bindings.map((b) => b.name);
    invariant(
      names.length === Object.keys(bindings).length && names.every((n) => n in bindings),
      `kernel ${source.name} binds ${names.join(", ")}; given ${Object.keys(bindings).join(", ")}`,
    );
    this.ops.push({ label: source.name, kernel: this.pipelines.get(source), params, bindings, grid: full });
  }
}

/** A recorded graph: bind groups and grids, ready to be replayed. */
export interface Program {
  readonly dispatches: readonly Dispatch[];
}

const isTensor = (b: Tensor | Range): b is Tensor => "extent" in b;

/** The activation and parameter buffers that all programs of an engine share. */
export class GraphBuffers {
  private readonly activations: GPUBuffer[] = [];

  constructor(
    private readonly device: GPUDevice,
    private readonly arena: Arena,
  ) {}

  /** Allocates what the given graphs need between them. To be called once, with every graph there will be. */
  async reserve(graphs: readonly { graph: Graph; outputs: Readonly<Record<string, Tensor>> }[]): Promise<void> {
    const sizes: number[] = [];
    for (const { graph, outputs } of graphs) {
      place(graph, Object.values(outputs)).bytes.forEach((n, i) => (sizes[i] = Math.max(sizes[i] ?? 0, n)));
    }
    const usage = Usage.storage | Usage.copySrc | Usage.copyDst;
    for (const [i, bytes] of sizes.entries()) {
      this.activations.push(await this.arena.allocate("activations", `activation ${i}`, bytes, usage));
    }
  }

  /** Gives every tensor a buffer and every operation its bind group. */
  async program(graph: Graph, outputs: Readonly<Record<string, Tensor>> = {}): Promise<Program & Outputs> {
    const placement = place(graph, Object.values(outputs));
    placement.bytes.forEach((bytes, i) => {
      invariant((this.activations[i]?.size ?? 0) >= bytes, "a program needs more than was reserved");
    });
    const params = await this.uploadParams(graph);
    const range = (b: Tensor | Range): Range => {
      if (!isTensor(b)) return b;
      const buffer = this.activations[placement.slot.get(b.id)!]!;
      return { buffer, offset: 0, size: tensorBytes(graph, b) };
    };
    const dispatches = graph.ops.map((op, i): Dispatch => {
      const resources = op.kernel.source.bindings.map(({ name }) => range(op.bindings[name]!));
      return {
        label: op.label,
        pipeline: op.kernel,
        grid: op.grid,
        bindGroup: this.device.createBindGroup({
          label: op.label,
          layout: op.kernel.layout,
          entries: [params(i), graph.batch.header, ...resources].map((resource, binding) => ({ binding, resource })),
        }),
      };
    });
    const outputRanges = Object.fromEntries(Object.entries(outputs).map(([name, tensor]) => [name, range(tensor)]));
    return { dispatches, outputs: outputRanges };
  }

  /** All parameters of a program in one uniform buffer, each at a multiple of 256 bytes. */
  private async uploadParams(graph: Graph): Promise<(op: number) => Range> {
    const packed = graph.ops.map((op) => packParams(op.kernel.source, op.params));
    const offsets: number[] = [];
    let end = 0;
    for (const bytes of packed) {
      offsets.push(end);
      end = roundUp(end + bytes.byteLength, 256);
    }
    const buffer = await this.arena.allocate("state", "parameters", end, Usage.uniform | Usage.copyDst);
    const all = new Uint8Array(end);
    packed.forEach((bytes, i) => all.set(new Uint8Array(bytes), offsets[i]));
    this.device.queue.writeBuffer(buffer, 0, all);
    return (op) => ({ buffer, offset: offsets[op]!, size: packed[op]!.byteLength });
  }
}

export interface Outputs {
  readonly outputs: Readonly<Record<string, Range>>;
}

function tensorBytes(graph: Graph, tensor: Tensor): number {
  return graph.count(tensor.extent) * tensor.width * 4;
}

/** Which buffer each tensor takes: a linear scan over its live ranges, the same for every number of rows. */
function place(graph: Graph, outputs: readonly Tensor[]): { slot: Map<number, number>; bytes: number[] } {
  const lastUse = new Map<number, number>();
  graph.ops.forEach((op, i) => {
    for (const b of Object.values(op.bindings)) if (isTensor(b)) lastUse.set(b.id, i);
  });
  for (const tensor of outputs) lastUse.set(tensor.id, Infinity);
  const slot = new Map<number, number>();
  const bytes: number[] = [];
  const owner: { id: number; extent: Tensor["extent"] }[] = [];
  graph.ops.forEach((op, i) => {
    for (const b of Object.values(op.bindings)) {
      if (!isTensor(b) || slot.has(b.id)) continue;
      // A buffer serves tensors of one extent only, so that its size scales the same way in every program.
      let free = owner.findIndex((o) => o.extent === b.extent && lastUse.get(o.id)! < i);
      if (free < 0) free = owner.length;
      owner[free] = { id: b.id, extent: b.extent };
      slot.set(b.id, free);
      bytes[free] = Math.max(bytes[free] ?? 0, tensorBytes(graph, b));
    }
  });
  return { slot, bytes };
}
