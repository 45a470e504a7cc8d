/**
 * Chat templates come with a checkpoint, so they are programs of strangers. @huggingface/jinja runs them; this bounds
 * how much they can do. Before: limits on the source and on what it parses to. During: every step of the interpreter
 * is counted, and so is every character and list entry an operation goes over, before it does. Both are counts, not
 * times: a template ends the same way on every machine.
 */
import { parse, tokenize } from "@huggingface/jinja";
import { TemplateError } from "../base/errors.ts";

/** A part of a parsed template. The package exports no types for them: `type` and the fields it implies. */
export interface Node {
  readonly type: string;
  readonly [field: string]: unknown;
}

/** Of 55 published templates the largest needs 16,738 characters, 1,378 nodes, nesting 29, loops 3, blanks 45. */
export const TEMPLATE_LIMITS = {
  /** Characters of source. */
  source: 200_000,
  /** Blanks in a row: the package's search for `{% generation %}` takes time with the square of that. */
  blanks: 256,
  nodes: 5_000,
  nesting: 200,
  /** `for` within `for`. */
  loops: 3,
} as const;

/** Parses a template. Throws TemplateError if it is not Jinja, or is larger than any honest one. */
export function parseTemplate(source: string): Node {
  if (source.length > TEMPLATE_LIMITS.source) throw over("is longer", "source", "characters");
  let run = 0;
  for (let i = 0; i < source.length; i++) {
    run = /\s/.test(source[i]!) ? run + 1 : 0;
    if (run > TEMPLATE_LIMITS.blanks) throw over("has more", "blanks", "blanks in a row");
  }
  let program: Node;
  try {
    program = parse(tokenize(source, { trim_blocks: true, lstrip_blocks: true })) as unknown as Node;
  } catch (cause) {
    const what = cause instanceof Error ? cause.message : String(cause);
    throw new TemplateError(`The chat template cannot be parsed: ${what}. Use another template.`, { cause });
  }
  checkSize(program);
  return program;
}

function checkSize(program: Node): void {
  const waiting = [{ node: program, nesting: 0, loops: 0 }];
  for (let nodes = 1; waiting.length > 0; nodes++) {
    if (nodes > TEMPLATE_LIMITS.nodes) throw over("has more", "nodes", "parts");
    const { node, ...at } = waiting.pop()!;
    const nesting = at.nesting + 1;
    const loops = at.loops + (node.type === "For" ? 1 : 0);
    if (nesting > TEMPLATE_LIMITS.nesting) throw over("nests deeper", "nesting", "levels");
    if (loops > TEMPLATE_LIMITS.loops) throw over("nests more", "loops", "loops");
    for (const child of childrenOf(node)) waiting.push({ node: child, nesting, loops });
  }
}

/** The nodes in a node's fields, and its operator, a token that looks like one. */
export function childrenOf(node: Node): Node[] {
  return Object.values(node).flatMap((field): Node[] => {
    if (field instanceof Map) return [...field.entries()].flat().filter(isNode);
    return (Array.isArray(field) ? (field as unknown[]) : [field]).filter(isNode);
  });
}

function isNode(x: unknown): x is Node {
  return typeof x === "object" && x !== null && typeof (x as Node).type === "string";
}

function over(how: string, limit: keyof typeof TEMPLATE_LIMITS, what: string): TemplateError {
  const most = TEMPLATE_LIMITS[limit].toLocaleString("en");
  return new TemplateError(
    `The chat template ${how} than ${most} ${what}: too costly to run. Use another template, or render the prompt yourself.`,
  );
}
