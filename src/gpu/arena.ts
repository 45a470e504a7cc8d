import { invariant, roundUp } from "../base/assert.ts";
import { DisposedError, OutOfMemoryError } from "../base/errors.ts";

/** What a buffer is for; `stats()` reports bytes by kind. */
export type BufferKind = "weights" | "kv" | "activations" | "state" | "staging";

interface Entry {
  kind: BufferKind;
  bytes: number;
}

/** Usage flags by the numbers of the WebGPU specification: `GPUBufferUsage` is not a global everywhere. */
export const Usage = { mapRead: 1, copySrc: 4, copyDst: 8, uniform: 64, storage: 128 } as const;

/** Owns every buffer of a device. What is not allocated here does not exist, so the accounting is exact. */
export class Arena {
  private readonly entries = new Map<GPUBuffer, Entry>();
  private total = 0;
  private closed = false;

  constructor(
    private readonly device: GPUDevice,
    private readonly budget = Infinity,
  ) {}

  /** Bytes held now. */
  get bytes(): number {
    return this.total;
  }

  /** Bytes that may still be allocated; infinite without a budget, since WebGPU does not tell. */
  get available(): number {
    return this.budget - this.total;
  }

  byKind(): Record<string, number> {
    const sums: Record<string, number> = {};
    for (const { kind, bytes } of this.entries.values()) sums[kind] = (sums[kind] ?? 0) + bytes;
    return sums;
  }

  /**
   * A new zeroed buffer of `bytes`, rounded up to a multiple of 4. Waits for the driver's word, so that a failed
   * allocation is an OutOfMemoryError here and not garbage later.
   */
  async allocate(kind: BufferKind, label: string, bytes: number, usage: number): Promise<GPUBuffer> {
    if (this.closed) throw new DisposedError();
    const size = Math.max(4, roundUp(bytes, 4));
    const limit = Math.min(this.device.limits.maxBufferSize, this.available);
    if (size > limit) throw new OutOfMemoryError(label, size, limit);
    this.device.pushErrorScope("out-of-memory");
    let buffer: GPUBuffer | undefined;
    let failure: Error | undefined;
    try {
      buffer = this.device.createBuffer({ label, size, usage });
      // Counted before the wait, so that allocations made side by side cannot pass the budget together.
      this.entries.set(buffer, { kind, bytes: size });
      this.total += size;
    } catch (error) {
      failure = error as Error; // browsers throw RangeError where the size itself is past what they can map
    }
    const refused = await this.device.popErrorScope();
    if (buffer && !refused && !this.closed) return buffer;
    if (this.closed) {
      buffer?.destroy();
      throw new DisposedError();
    }
    if (buffer) this.free(buffer);
    if (failure && !(failure instanceof RangeError)) throw failure;
    throw new OutOfMemoryError(label, size, Number.isFinite(this.available) ? this.available : undefined);
  }

  /** Frees one buffer. After `freeAll` there is nothing left to free, and owners that clean up late do no harm. */
  free(buffer: GPUBuffer): void {
    if (this.closed) return;
    const entry = this.entries.get(buffer);
    invariant(entry, `buffer ${buffer.label} is not of this arena, or was freed twice`);
    this.entries.delete(buffer);
    this.total -= entry.bytes;
    buffer.destroy();
  }

  /** Frees every buffer, for good. */
  freeAll(): void {
    for (const buffer of [...this.entries.keys()]) this.free(buffer);
    this.closed = true;
  }
}
