import transposeWgsl from "../../shaders/transpose.wgsl?raw";
import type { DenseFormat } from "../weights/quant/dense.ts";
import type { KernelSource } from "./define.ts";

/** A strip of a published [inFeatures, outFeatures] matrix, and which rows of its transposition are wanted. */
export interface Strip {
  readonly inFeatures: number;
  readonly outFeatures: number;
  /** Its place among the published rows; even for 16-bit formats, as `rows` and `inFeatures` are. */
  readonly firstRow: number;
  readonly rows: number;
  readonly rowStart: number;
  readonly rowCount: number;
}

/** The kernel that turns strips of values `format`, as they are in a file, into columns of [outFeatures, inFeatures]. */
export function transposeSource(format: DenseFormat): KernelSource {
  return {
    name: `transpose ${format}`,
    wgsl: transposeWgsl,
    constants: { HALVES: format !== "f32" },
    params: {
      inFeatures: "u32",
      outFeatures: "u32",
      firstRow: "u32",
      rows: "u32",
      rowStart: "u32",
      rowCount: "u32",
    },
    bindings: [
      { name: "staging", access: "read", type: "array<u32>" },
      { name: "turned", access: "read_write", type: "array<u32>" },
    ],
  };
}

export function transposeGrid(strip: Strip): [number, number, number] {
  const y = Math.min(strip.rowCount, 65535);
  return [Math.ceil(strip.rows / 64), y, Math.ceil(strip.rowCount / y)];
}
