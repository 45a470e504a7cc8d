import { invariant } from "../base/assert.ts";

/**
 * Unrolls marked parts of a kernel, since WGSL compilers neither do so themselves nor keep arrays with computed indices in
 * registers (kernels.md §1.4). Between `// repeat i COUNT` and `// end` every line stands COUNT times, with `$i` as 0, 1, …;
 * COUNT is looked up in `counts`. Parts may lie inside each other, under different letters.
 */
export function unroll(wgsl: string, counts: Readonly<Record<string, number | boolean>>): string {
  const lines = wgsl.split("\n");
  const [unrolled, end] = unrollFrom(lines, 0, counts);
  invariant(end === lines.length, "an end without its repeat");
  return unrolled.join("\n");
}

/** The lines up to the end that closes this part, unrolled, and where that is. */
function unrollFrom(
  lines: readonly string[],
  from: number,
  counts: Readonly<Record<string, number | boolean>>,
): [string[], number] {
  const result: string[] = [];
  let at = from;
  for (; at < lines.length && lines[at]!.trim() !== "// end"; at++) {
    const marker = /^ *\/\/ repeat ([a-z]) ([A-Z0-9_]+)$/.exec(lines[at]!);
    if (!marker) {
      result.push(lines[at]!);
      continue;
    }
    const [letter, count] = [marker[1]!, counts[marker[2]!]];
    invariant(typeof count === "number", `repeat ${marker[2]}: no such count`);
    const [body, end] = unrollFrom(lines, at + 1, counts);
    invariant(end < lines.length, "a repeat without its end");
    for (let i = 0; i < count; i++) result.push(...body.map((line) => line.replaceAll(`$${letter}`, String(i))));
    at = end;
  }
  return [result, at];
}
