/** What one device can do at most, as measured on it. Rates are decimal: 1 GB is 10⁹ bytes. */
export interface Peaks {
  /** Streaming read of memory past the cache. */
  readonly readGBs: number;
  /** Multiply-add of f32; an fma is two operations. */
  readonly f32GFLOPs: number;
  /** The same of f16; null without shader-f16. */
  readonly f16GFLOPs: number | null;
  /** What one more dispatch in a pass costs, when it needs the one before it. */
  readonly dispatchUs: number;
  /** What one more submit costs, with a pass and a dispatch in it. */
  readonly submitUs: number;
}

/** Work as it is counted: bytes are the compulsory traffic, each input read and each output written once. */
export interface Work {
  readonly bytes: number;
  readonly flops: number;
}

/** What bounds a piece of work. */
export interface Bound {
  readonly by: "memory" | "arithmetic";
  /** Milliseconds that it takes at least: the longer of its traffic at peak bandwidth and its arithmetic at peak rate. */
  readonly ms: number;
}

/**
 * The roofline (Williams, Waterman & Patterson 2009): a kernel of intensity I = flops / bytes does at most
 * min(peak, I · bandwidth). Kernels accumulate in f32, so the f32 peak is the roof of all of them.
 */
export function boundOf({ bytes, flops }: Work, peaks: Peaks): Bound {
  const memoryMs = bytes / (peaks.readGBs * 1e6);
  const arithmeticMs = flops / (peaks.f32GFLOPs * 1e6);
  return memoryMs >= arithmeticMs ? { by: "memory", ms: memoryMs } : { by: "arithmetic", ms: arithmeticMs };
}

/** Operations a byte; 0 for work that only moves bytes. */
export function intensityOf({ bytes, flops }: Work): number {
  return flops / bytes;
}

/** GFLOP/s that the roof allows at an intensity. */
export function attainable(intensity: number, peaks: Peaks): number {
  return Math.min(peaks.f32GFLOPs, intensity * peaks.readGBs);
}
