import { invariant } from "../base/assert.ts";
import { Usage, type Arena } from "./arena.ts";
import type { Copy } from "./pass.ts";

interface Slot {
  buffer: GPUBuffer;
  busy: boolean;
}

/** Results on their way to the host. */
export interface PendingReads {
  /** What the submit has to copy. */
  readonly copies: readonly Copy[];
  /** To be called once, after the submit: the bytes, once the GPU has them. */
  read(): Promise<ArrayBuffer>;
}

/** One result on its way, a single copy. */
export interface PendingRead extends PendingReads {
  readonly copy: Copy;
}

/** A ring of mappable buffers, so that several steps' results can be under way and none is waited for early. */
export class Readback {
  private constructor(private readonly slots: Slot[]) {}

  static async create(arena: Arena, label: string, count: number, bytes: number): Promise<Readback> {
    const make = (): Promise<GPUBuffer> => arena.allocate("staging", label, bytes, Usage.mapRead | Usage.copyDst);
    const slots: Slot[] = [];
    for (let i = 0; i < count; i++) slots.push({ buffer: await make(), busy: false });
    return new Readback(slots);
  }

  /** Takes a free slot of the ring for the first bytes of a buffer; there must be one. */
  take(from: GPUBuffer, bytes: number): PendingRead {
    const pending = this.gather([{ from, offset: 0, bytes }]);
    return { ...pending, copy: pending.copies[0]! };
  }

  /** The same for parts of buffers, which come one after another. */
  gather(parts: readonly { from: GPUBuffer; offset: number; bytes: number }[]): PendingReads {
    const slot = this.slots.find((s) => !s.busy);
    invariant(slot, "every readback slot is under way");
    slot.busy = true;
    let bytes = 0;
    const copies = parts.map(({ from, offset, bytes: length }): Copy => {
      bytes += length;
      return { from, to: slot.buffer, bytes: length, fromOffset: offset, toOffset: bytes - length };
    });
    const read = async (): Promise<ArrayBuffer> => {
      await slot.buffer.mapAsync(1 /* GPUMapMode.READ */, 0, bytes);
      const result = slot.buffer.getMappedRange(0, bytes).slice(0);
      slot.buffer.unmap();
      slot.busy = false;
      return result;
    };
    return { copies, read };
  }
}
