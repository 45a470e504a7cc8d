import { DENSE_FORMATS, denseRowWords, type DenseFormat } from "./dense.ts";
import { groupedRowWords, type GroupedFormat } from "./grouped.ts";

/** Every layout that kernels read. */
export type WeightLayout = DenseFormat | GroupedFormat;

export function isDense(layout: WeightLayout): layout is DenseFormat {
  return (DENSE_FORMATS as readonly string[]).includes(layout);
}

/** Words from one row of a matrix to the next; a multiple of 4. */
export function rowWords(layout: WeightLayout, columns: number): number {
  return isDense(layout) ? denseRowWords(layout, columns) : groupedRowWords(layout, columns);
}
