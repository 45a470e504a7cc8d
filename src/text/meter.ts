/** What running a template costs, counted before it is done: the guard of interpreter.ts. */
import { TemplateError } from "../base/errors.ts";
import { countParts, entriesOf, isNumber, isText, lengthOf, toText, type Value } from "./values.ts";

export const RUN_LIMITS = {
  /** Of 55 published templates the costliest takes 330,000 for 2,000 messages; one, quadratic, ends at 340 messages. */
  steps: 1_000_000,
  /** Evaluations within each other: a macro that calls itself. */
  nesting: 400,
  /** Lists within lists. */
  depth: 64,
  /** Characters of one text. */
  text: 2 ** 24,
  /** Entries of one list. */
  entries: 2 ** 18,
} as const;

/** What things cost the package, measured in steps. A step is about a quarter of a microsecond on a laptop. */
export const COST = {
  /** A turn of a loop makes two scopes and the nine fields of `loop`. */
  turn: 12,
  /** A call binds arguments and makes a scope. */
  call: 4,
  /** A node that is searched for names. */
  node: 1 / 2,
  /** A name that is not there is an exception with a stack trace. */
  missing: 24,
  /** A text that is replaced, a part that is split off. */
  match: 1,
  /** An entry of a list or mapping that is gone over; a character of a slice. */
  entry: 1 / 8,
  /** A character of text that is gone over. */
  character: 1 / 64,
} as const;

/** Of a list within lists, a mapping, a namespace. */
interface Size {
  /** To go over all that is in it; what appears twice counts twice. */
  readonly steps: number;
  readonly depth: number;
}
const ENDLESS: Size = { steps: Infinity, depth: Infinity };

export class Meter {
  #steps = 0;
  #nesting = 0;
  #sizes = new WeakMap<Value, Size>();

  /** Throws TemplateError when the account is empty. */
  spend(steps: number): void {
    this.#steps += steps;
    if (!(this.#steps <= RUN_LIMITS.steps)) throw tooCostly(`needs more than ${RUN_LIMITS.steps} steps`);
  }

  enter(): void {
    if (++this.#nesting > RUN_LIMITS.nesting) throw tooCostly(`nests its calls more than ${RUN_LIMITS.nesting} deep`);
  }

  leave(): void {
    this.#nesting--;
  }

  checkLength(value: Value): void {
    const length = lengthOf(value);
    if (isText(value)) this.checkTextLength(length);
    else if (length > RUN_LIMITS.entries) throw tooCostly(`makes a list of ${length} entries`);
  }

  checkTextLength(length: number): void {
    if (length > RUN_LIMITS.text) throw tooCostly(`makes a text of ${length} characters`);
  }

  /** A namespace changed, and with it the size of all that it lies in. */
  forgetSizes(): void {
    this.#sizes = new WeakMap();
  }

  /** Steps to go over a value in all its depth. */
  stepsThrough(value: Value): number {
    return this.#size(value).steps;
  }

  /** Steps that a filter or method takes to go over what goes in and to make what comes out. */
  stepsOf(name: string, operand: Value, args: readonly Value[]): number {
    const length = lengthOf(operand);
    const given = args.reduce((sum, arg) => sum + this.stepsThrough(arg), 0);
    const all = stepsOver(operand) + given;
    switch (name) {
      case "default":
      case "get":
      case "safe":
        return given;
      case "length":
        return isText(operand) ? length * COST.entry : 0;
      case "replace": {
        const [old, by] = args;
        return all + countParts(operand, old) * (COST.match + (by ? stepsOver(by) : 0));
      }
      case "split":
        return all + countParts(operand, args[0]) * COST.match;
      case "join":
        return this.stepsThrough(operand) + length * all;
      case "indent":
        return all + countParts(operand, toText("\n")) * (widest(args) + 1) * COST.character;
      case "tojson":
      case "string": {
        const { steps, depth } = this.#size(operand);
        return steps * (1 + (all + widest(args)) * depth);
      }
      case "selectattr":
      case "rejectattr":
        return all + length * given;
      case "sort":
      case "dictsort":
      case "unique":
      case "map":
        return (this.stepsThrough(operand) + length * (COST.match + given)) * Math.log2(length + 2);
      default:
        return all;
    }
  }

  #size(value: Value): Size {
    const children = entriesOf(value);
    if (children === undefined) return { steps: stepsOver(value), depth: 0 };
    const known = this.#sizes.get(value);
    if (known !== undefined) return known;
    this.#sizes.set(value, ENDLESS); // and so it stays for what contains itself
    let [steps, depth] = [0, 0];
    for (const [key, child] of children) {
      const size = this.#size(child);
      steps += COST.entry + key.length * COST.character + size.steps;
      depth = Math.max(depth, size.depth);
    }
    this.spend(1 + children.length * COST.entry);
    const size = { steps, depth: depth + 1 };
    if (size.depth > RUN_LIMITS.depth) throw tooCostly(`nests lists more than ${RUN_LIMITS.depth} deep`);
    this.#sizes.set(value, size);
    return size;
  }
}

/** To go over a text, or over a container's entries but not into them. */
export function stepsOver(value: Value): number {
  return lengthOf(value) * (isText(value) ? COST.character : COST.entry);
}

/** The largest number given: a width or an indent, which makes as many characters. */
function widest(args: readonly Value[]): number {
  return args.reduce((most, arg) => (isNumber(arg) ? Math.max(most, Math.abs(arg.value)) : most), 0);
}

function tooCostly(what: string): TemplateError {
  return new TemplateError(
    `The chat template ${what}: too costly to run. Use another template, or render the prompt yourself.`,
  );
}
