import { roundUp } from "../base/assert.ts";
import { Usage } from "../gpu/arena.ts";
import type { Gpu } from "../gpu/device.ts";
import { submit } from "../gpu/pass.ts";
import { Readback } from "../gpu/readback.ts";
import type { Range } from "../kernels/batch.ts";
import type { ExpertsSpec, ExpertTables } from "../models/family.ts";
import type { ExpertCounts } from "./port.ts";

/** Offsets of bindings within a buffer are multiples of this. */
const ALIGNMENT = 256;

/**
 * The tables of a model's experts: where each resides, and how often each was chosen. Every expert is resident and in the
 * order of its number; kernels look that up all the same, so that this may change. The router's kernel counts as it chooses,
 * and nothing of it leaves the GPU unless somebody asks.
 */
export class Routing {
  private pending: Promise<ExpertCounts[]> | undefined;

  private constructor(
    private readonly gpu: Gpu,
    readonly tables: ReadonlyMap<number, ExpertTables>,
    private readonly readback: Readback,
  ) {}

  /** Null for a model without experts. */
  static async create(gpu: Gpu, spec: ExpertsSpec | null): Promise<Routing | null> {
    if (!spec || spec.layers.length === 0) return null;
    const { layers, experts, shared } = spec;
    const allocate = async (label: string, words: number, extra: number): Promise<(at: number) => Range> => {
      const [size, stride] = [words * 4, roundUp(words * 4, ALIGNMENT)];
      const usage = Usage.storage | Usage.copyDst | extra;
      const buffer = await gpu.arena.allocate("state", label, stride * layers.length, usage);
      return (at) => ({ buffer, offset: at * stride, size });
    };
    const slots = await allocate("slots of experts", experts + shared, 0);
    const counts = await allocate("counts of experts", experts, Usage.copySrc);
    const identity = Uint32Array.from({ length: experts + shared }, (_, i) => i);
    const tables = new Map<number, ExpertTables>();
    for (const [at, layer] of layers.entries()) {
      const own = slots(at);
      gpu.queue.writeBuffer(own.buffer, own.offset, identity);
      tables.set(layer, { slots: own, counts: counts(at) });
    }
    const readback = await Readback.create(gpu.arena, "counts of experts", 1, layers.length * experts * 4);
    return new Routing(gpu, tables, readback);
  }

  /** The counts of now; who asks while an answer is under way gets that one. */
  read(): Promise<ExpertCounts[]> {
    this.pending ??= this.fetch().finally(() => (this.pending = undefined));
    return this.pending;
  }

  private async fetch(): Promise<ExpertCounts[]> {
    const layers = [...this.tables];
    const parts = layers.map(([, { counts }]) => ({ from: counts.buffer, offset: counts.offset, bytes: counts.size }));
    const pending = this.readback.gather(parts);
    submit(this.gpu, [], pending.copies);
    const words = new Uint32Array(await pending.read());
    const experts = words.length / layers.length;
    return layers.map(([layer], at) => ({ layer, counts: [...words.subarray(at * experts, (at + 1) * experts)] }));
  }
}
