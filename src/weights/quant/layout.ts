import { DENSE_FORMATS, denseRowWords, type DenseFormat } from "./dense.ts";
import { GROUPED_FORMATS, groupedRowWords, type GroupedFormat } from "./grouped.ts";

/** The layouts that weights may be asked for in. */
export type WeightLayout = DenseFormat | "q8" | "q4";

/** Every layout that kernels read: those, and what published formats with other groups or zero points become. */
export type ResidentLayout = DenseFormat | GroupedFormat;

export const RESIDENT_LAYOUTS: readonly ResidentLayout[] = [...DENSE_FORMATS, ...GROUPED_FORMATS];

export function isDense(layout: ResidentLayout): layout is DenseFormat {
  return (DENSE_FORMATS as readonly string[]).includes(layout);
}

/** Words from one row of a matrix to the next; a multiple of 4. */
export function rowWords(layout: ResidentLayout, columns: number): number {
  return isDense(layout) ? denseRowWords(layout, columns) : groupedRowWords(layout, columns);
}
