import type { Range } from "./batch.ts";
import type { Binding } from "./define.ts";
import type { Graph, Tensor } from "./graph.ts";

/**
 * Part of what makes a dispatch: bindings, parameters and code that are about one thing. A kernel with many options is
 * drawn from such pieces, so that what belongs together stands together.
 */
export interface Piece {
  /** What is read: its WGSL type, and where it is. */
  readonly reads?: Readonly<Record<string, readonly [type: string, from: Tensor | Range]>>;
  readonly u32?: Readonly<Record<string, number>>;
  readonly f32?: Readonly<Record<string, number>>;
  readonly constants?: Readonly<Record<string, number | boolean>>;
  readonly fragments?: readonly string[];
  readonly enables?: readonly ["subgroups"];
}

/** One dispatch that writes `out`. */
export interface Drawn {
  readonly name: string;
  readonly wgsl: string;
  readonly out: Tensor;
  /** What the kernel calls it; `out` and f32 where absent. */
  readonly as?: readonly [name: string, type: string];
  readonly grid: readonly [x: number, y?: number];
}

export function drawPieces(graph: Graph, drawn: Drawn, pieces: readonly Piece[]): void {
  const { name, wgsl, out, as: [outName, outType] = ["out", "array<f32>"], grid } = drawn;
  const reads = merged(pieces.map((piece) => piece.reads));
  const [u32, f32] = [merged(pieces.map((piece) => piece.u32)), merged(pieces.map((piece) => piece.f32))];
  const typed = <T extends string>(values: object, type: T): Record<string, T> =>
    Object.fromEntries(Object.keys(values).map((key) => [key, type]));
  const enables = pieces.flatMap((piece) => piece.enables ?? []);
  graph.dispatch(
    {
      name,
      wgsl,
      ...(enables.length > 0 && { enables }),
      fragments: pieces.flatMap((piece) => piece.fragments ?? []),
      bindings: [
        ...Object.entries(reads).map(([key, [type]]): Binding => ({ name: key, access: "read", type })),
        { name: outName, access: "read_write", type: outType },
      ],
      params: { ...typed(u32, "u32"), ...typed(f32, "f32") },
      constants: merged(pieces.map((piece) => piece.constants)),
    },
    { ...u32, ...f32 },
    { ...Object.fromEntries(Object.entries(reads).map(([key, [, from]]) => [key, from])), [outName]: out },
    grid,
  );
}

/** A buffer that not every program has: the function `signature` gives `value` where it is there, `otherwise` where not. */
export function optionalRead(
  name: string,
  type: string,
  from: Tensor | Range | undefined,
  [signature, value, otherwise]: readonly [signature: string, value: string, otherwise: string],
): Piece {
  return {
    ...(from && { reads: { [name]: [type, from] } }),
    fragments: [`fn ${signature} { return ${from ? value : otherwise}; }`],
  };
}

/** Several pieces as one. */
export function together(...pieces: readonly Piece[]): Piece {
  return {
    reads: merged(pieces.map((piece) => piece.reads)),
    u32: merged(pieces.map((piece) => piece.u32)),
    f32: merged(pieces.map((piece) => piece.f32)),
    constants: merged(pieces.map((piece) => piece.constants)),
    fragments: pieces.flatMap((piece) => piece.fragments ?? []),
  };
}

function merged<T>(records: readonly (Readonly<Record<string, T>> | undefined)[]): Record<string, T> {
  return Object.assign({}, ...records) as Record<string, T>;
}
