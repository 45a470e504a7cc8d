import type { DeviceInfo } from "../gpu/device.ts";

/**
 * Which variants of the kernels a program takes. Nothing here changes what is computed, but for the rounding of sums; every
 * combination fits WebGPU's default limits. The numbers are per vendor, by measurement on that vendor's GPUs or by the
 * evidence that the table names; never by a timing on a software device.
 */
export interface Tuning {
  /** shader-f16: half-precision tiles in workgroup memory. Sums stay f32. */
  readonly f16: boolean;
  /** Reductions by subgroup operations instead of workgroup memory. Never assumes a size. */
  readonly subgroups: boolean;
  /** Activations in 8 bits and dot4I8Packed, where that is quicker. Changes results within the 8-bit rounding. */
  readonly packedDot: boolean;
  /** One path for any number of rows, so that a request's bits do not depend on its company. */
  readonly deterministic: boolean;
  readonly matVec: MatVecTile;
  readonly matMul: MatMulTile;
  readonly attention: AttentionTile;
}

/** Linear layers over few rows: each lane has a part of K of several weight rows. */
export interface MatVecTile {
  readonly workgroup: number;
  /** Lanes along K for one group of weight rows; a power of two that divides workgroup. */
  readonly lanesPerRow: number;
  /** Weight rows that a lane works on at a time. */
  readonly rowsPerLane: number;
  /** More rows of x than this take the tiled matmul. */
  readonly maxColumns: number;
}

/**
 * Tiled matmul: a workgroup makes a tile of m × n results, a lane laneM × laneN of them, k deep at a time. Two others take
 * weights straight to registers and do not use these numbers: `wide`, a pair of rows a lane for 16 rows of x; and with
 * `holders`, for devices with subgroups, four rows a lane for up to 8 rows of x, whose columns come by shuffles from so many
 * lanes, at most the smallest subgroup; few rows take it as well.
 */
export interface MatMulTile {
  readonly wide?: boolean;
  readonly holders?: 4 | 8;
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly laneM: number;
  readonly laneN: number;
}

export interface AttentionTile {
  /** Query rows (tokens × heads of a group) of a prefill tile. */
  readonly rows: number;
  /** Tokens of one split of a long cache: splits start at multiples of it. */
  readonly split: number;
}

/** What every device runs well enough. */
export const PORTABLE: Tuning = {
  f16: false,
  subgroups: false,
  packedDot: false,
  deterministic: false,
  matVec: { workgroup: 128, lanesPerRow: 32, rowsPerLane: 4, maxColumns: 8 },
  matMul: { m: 64, n: 64, k: 16, laneM: 4, laneN: 4 },
  attention: { rows: 32, split: 256 },
};

/**
 * The vendors' rows: where they differ from the portable one. Intel has the wide tile, as onnxruntime chose there. The rows
 * of software devices have workgroups of 64, since all lanes of one run on one core. On llvmpipe every lane's load is one of
 * its own, from workgroup memory as well, so it has the tile with the fewest loads to a multiply-add, for one row too: for 32
 * columns of 4 rows of weights 5 vectors a lane, where the mat-vec has 12. SwiftShader has little unrolled code, which it
 * compiles slowly.
 */
const VENDORS: readonly { name: RegExp; row: (info: DeviceInfo) => Partial<Tuning> }[] = [
  { name: /^intel\b/i, row: () => ({ matMul: { ...PORTABLE.matMul, wide: true } }) },
  {
    name: /llvmpipe|lavapipe/i,
    row: (info) => ({
      matVec: { ...PORTABLE.matVec, workgroup: 64 },
      matMul: { ...PORTABLE.matMul, ...(info.subgroups && { holders: holdersOf(info) }) },
    }),
  },
  {
    name: /swiftshader/i,
    row: () => ({
      matVec: { ...PORTABLE.matVec, workgroup: 64, rowsPerLane: 2 },
      matMul: { m: 16, n: 16, k: 16, laneM: 2, laneN: 2 },
      attention: { ...PORTABLE.attention, rows: 16 },
    }),
  },
];

/** Lanes that every subgroup of a device has and that hold x between them. */
export function holdersOf({ subgroupMinSize }: DeviceInfo): 4 | 8 {
  return subgroupMinSize >= 8 ? 8 : 4;
}

/** The variants for a device: its features, and its vendor's row of the table. */
export function tuningFor(info: DeviceInfo, deterministic = false): Tuning {
  const called = `${info.vendor} ${info.architecture} ${info.description}`;
  const row = VENDORS.find(({ name }) => name.test(called))?.row(info);
  return { ...PORTABLE, ...row, f16: info.shaderF16, subgroups: info.subgroups, deterministic };
}
