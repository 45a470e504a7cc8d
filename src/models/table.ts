import type { LinearSpec, TensorPlacement, VectorSpec } from "./family.ts";

/** A module of a checkpoint ("model.layers.0.mlp.up_proj") and where its rows go; a name alone is placed whole. */
export type Part = TensorPlacement;

export interface MatrixOptions {
  /** The modules have a `.bias` as well; those of which rows have one, where not all do. */
  bias?: boolean | ((module: string) => boolean);
  sensitive?: boolean;
  gatherOnly?: boolean;
  transposed?: boolean;
  exact?: boolean;
  unit?: number;
  active?: number;
}

/** Builds a family's weight table: roles on the left, the checkpoint's modules on the right. */
export class TableBuilder {
  readonly table = new Map<string, LinearSpec | VectorSpec>();

  /** A norm's gain, and with `bias` its bias as role "<role> bias". */
  norm(role: string, size: number | readonly [number, number], module: string, bias = false): void {
    const [width, shape] = typeof size === "number" ? [size] : [size[0] * size[1], size];
    this.table.set(role, { kind: "vector", width, tensor: `${module}.weight`, ...(shape && { shape }) });
    if (bias) this.table.set(`${role} bias`, { kind: "vector", width, tensor: `${module}.bias` });
  }

  /** A published vector by its own name. */
  vector(role: string, width: number, tensor: string): void {
    this.table.set(role, { kind: "vector", width, tensor });
  }

  /** Numbers that the config gives. */
  values(role: string, values: readonly number[]): void {
    this.table.set(role, { kind: "vector", width: values.length, values });
  }

  matrix(role: string, inFeatures: number, parts: readonly Part[], options: MatrixOptions = {}): void {
    const { bias = false, ...flags } = options;
    const suffixed = (list: readonly Part[], suffix: string): Part[] =>
      list.map((p) => ({ ...p, tensor: p.tensor + suffix }));
    const biased = parts.filter((p) => (typeof bias === "function" ? bias(p.tensor) : bias));
    this.table.set(role, {
      kind: "linear",
      outFeatures: parts.reduce((n, p) => n + p.rows, 0),
      inFeatures,
      tensors: suffixed(parts, ".weight"),
      ...(biased.length && { bias: suffixed(biased, ".bias") }),
      ...flags,
    });
  }

  /** Embedding, and the head where it is not the same matrix. */
  embedding(width: number, vocabSize: number, embed: string, head: string | null, headBias = false): void {
    const sensitive = true;
    this.matrix("embed", width, whole(embed, vocabSize), { sensitive, gatherOnly: head !== null });
    if (head !== null) this.matrix("head", width, whole(head, vocabSize), { sensitive, bias: headBias });
  }
  /** A table of learned positions: rows are gathered by position. */
  positions(width: number, count: number, module: string): void {
    this.matrix("positions", width, whole(module, count), { sensitive: true, gatherOnly: true });
  }
}

export function whole(module: string, rows: number): Part[] {
  return [{ tensor: module, rows, firstRow: 0, rowStep: 1 }];
}

/** Modules one under another: [queries | keys | values]. */
export function stacked(...modules: readonly (readonly [module: string, rows: number])[]): Part[] {
  let firstRow = 0;
  return modules.map(([tensor, rows]) => {
    firstRow += rows;
    return { tensor, rows, firstRow: firstRow - rows, rowStep: 1 };
  });
}

/** Gate and up in turn, so that one lane has both and the activation costs no dispatch. */
export function inTurn(gate: string, up: string, rows: number): Part[] {
  return [
    { tensor: gate, rows, firstRow: 0, rowStep: 2 },
    { tensor: up, rows, firstRow: 1, rowStep: 2 },
  ];
}

/** The same from one module that has the gate's rows before those of up. */
export function halvesInTurn(module: string, rows: number): Part[] {
  return [0, 1].map((half) => ({
    tensor: module,
    rows,
    firstRow: half,
    rowStep: 2,
    fromRow: half * rows,
    tensorRows: 2 * rows,
  }));
}

/**
 * One module that has, for each key head, its queries, its key and its value; resident as [queries | keys | values].
 * With as many key heads as query heads that is the layout of Megatron (GPT-NeoX, Bloom).
 */
export function byKeyHead(module: string, heads: number, kvHeads: number, headDim: number): Part[] {
  const group = heads / kvHeads;
  const tensorRows = (heads + 2 * kvHeads) * headDim;
  return Array.from({ length: kvHeads }, (_, h): Part[] => {
    const from = h * (group + 2) * headDim;
    const part = (fromRow: number, firstRow: number, rows: number): Part => ({
      tensor: module,
      rows,
      firstRow,
      rowStep: 1,
      fromRow,
      tensorRows,
    });
    return [
      part(from, h * group * headDim, group * headDim),
      part(from + group * headDim, (heads + h) * headDim, headDim),
      part(from + (group + 1) * headDim, (heads + kvHeads + h) * headDim, headDim),
    ];
  }).flat();
}
