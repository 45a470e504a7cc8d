/**
 * @huggingface/jinja's interpreter with a meter: each evaluation costs a step, each value costs by its size, each loop
 * costs by its length, and an operation whose result can be larger than what goes in is charged for that result before
 * it runs. Beside that, a few operations are done as Python does them, where published templates show the difference.
 */
import { Environment, Interpreter } from "@huggingface/jinja";
import { TemplateError } from "../base/errors.ts";
import { strip } from "./python.ts";
import { childrenOf, type Node } from "./template.ts";

type Statement = NonNullable<Parameters<Interpreter["evaluate"]>[0]>;
type Value = ReturnType<Interpreter["evaluate"]>;

export const RUN_LIMITS = {
  /** 2,000 messages in the costliest of 55 published templates take about 400,000. */
  steps: 2_000_000,
  /** Calls and expressions within each other while running: a macro that calls itself. */
  nesting: 400,
  /** Lists within lists. */
  depth: 64,
} as const;

/** Characters or entries that are as quick to go over as one step of the interpreter. */
const PER_STEP = 64;
/** A loop's turn makes a scope and the nine fields of `loop`. */
const STEPS_PER_TURN = 8;

/** A list within lists, or a mapping, or a namespace. */
interface Size {
  /** Characters and entries in it, those of lists within lists counted as often as they appear. */
  readonly weight: number;
  readonly depth: number;
}

const ENDLESS: Size = { weight: Infinity, depth: Infinity };

export class MeteredInterpreter extends Interpreter {
  #steps = 0;
  #nesting = 0;
  #sizes = new WeakMap<Value, Size>();
  /** Nodes whose value is printed, which goes through all its depth. */
  readonly #deep = new WeakSet<Node>();
  readonly #iterables = new WeakSet<Node>();

  constructor(environment: Environment, program: Node) {
    super(environment);
    this.#mark(program);
  }

  override evaluate(statement: Statement | undefined, environment: Environment): Value {
    if (statement === undefined) return super.evaluate(statement, environment);
    const node = statement as unknown as Node;
    if (node instanceof Quoted) return node.quoted;
    this.#spend(1);
    if (++this.#nesting > RUN_LIMITS.nesting) throw tooCostly(`calls itself more than ${RUN_LIMITS.nesting} deep`);
    try {
      const value = this.#evaluateNode(node, environment);
      this.#spend((this.#deep.has(node) ? this.#size(value).weight : length(value)) / PER_STEP);
      if (this.#iterables.has(node)) this.#spend(length(value) * STEPS_PER_TURN);
      return value;
    } finally {
      this.#nesting--;
    }
  }

  /** Finds the parts whose values cost more than a look. */
  #mark(node: Node): void {
    const { type } = node;
    if (type === "For") {
      const iterable = node.iterable as Node;
      this.#iterables.add(iterable.type === "SelectExpression" ? (iterable.lhs as Node) : iterable);
    }
    for (const block of [node.body, node.alternate, node.defaultBlock]) {
      if (Array.isArray(block)) for (const printed of block as Node[]) this.#deep.add(printed);
    }
    for (const child of childrenOf(node)) this.#mark(child);
  }

  #evaluateNode(node: Node, environment: Environment): Value {
    switch (node.type) {
      case "FilterExpression":
        return this.#filter(node, environment);
      case "FilterStatement": // {% filter f %} … {% endfilter %}: the filter applied to what the block prints
        return this.#filter({ ...node, operand: { type: "Program", body: node.body } }, environment);
      case "MemberExpression":
        return this.#member(node, environment);
      case "BinaryExpression":
        return this.#binary(node, environment);
      case "Set": {
        const done = super.evaluate(node as unknown as Statement, environment);
        // What a namespace lies in has another size now.
        if ((node.assignee as Node).type === "MemberExpression") this.#sizes = new WeakMap();
        return done;
      }
      default:
        return super.evaluate(node as unknown as Statement, environment);
    }
  }

  /** Arithmetic and comparison; either can turn a list into text, so both sides are measured when both are known. */
  #binary(node: Node, environment: Environment): Value {
    const { value: operator } = node.operator as { value: string };
    if (operator === "and" || operator === "or") return super.evaluate(node as unknown as Statement, environment);
    const [left, right] = [this.#quote(node.left as Node, environment), this.#quote(node.right as Node, environment)];
    this.#spend((this.#size(left.quoted).weight + this.#size(right.quoted).weight) / PER_STEP);
    return super.evaluate({ ...node, left, right } as unknown as Statement, environment);
  }

  #filter(node: Node, environment: Environment): Value {
    const filter = node.filter as Node;
    const called = filter.type === "CallExpression";
    const name = (called ? (filter.callee as Node) : filter).value;
    const operand = this.evaluate(node.operand as unknown as Statement, environment);
    const args = called ? this.#quoteArguments(filter.args as Node[], environment) : [];
    this.#spend(this.#cost(String(name), operand, args.map(valueOf)) / PER_STEP);

    if (name === "trim" && isString(operand)) {
      const characters = args[0] === undefined ? undefined : valueOf(args[0]).value;
      return alike(operand, strip(operand.value, "both", characters as string | undefined));
    }
    const nothing = operand.type === "UndefinedValue" || operand.type === "NullValue";
    if (nothing && SELECTING.has(String(name))) return toValue([]);
    // selectattr and rejectattr insist on literal arguments: they get the nodes themselves.
    const given = SELECTING.has(String(name)) && name !== "map" ? (filter.args as Node[]) : args;
    const again = {
      ...node,
      type: "FilterExpression",
      operand: new Quoted(operand),
      filter: called ? { ...filter, args: given } : filter,
    };
    return super.evaluate(again as unknown as Statement, environment);
  }

  /** Evaluates the arguments of a filter once, so that their sizes are known before it runs. */
  #quoteArguments(args: Node[], environment: Environment): Node[] {
    return args.map((arg) => {
      if (arg.type === "SpreadExpression" || arg.type === "KeywordSpreadExpression") {
        throw new TemplateError("The chat template spreads a list into a filter's arguments, which is not supported.");
      }
      if (arg.type !== "KeywordArgumentExpression") return this.#quote(arg, environment);
      return { ...arg, value: this.#quote(arg.value as Node, environment) };
    });
  }

  #quote(node: Node, environment: Environment): Quoted {
    return new Quoted(this.evaluate(node as unknown as Statement, environment));
  }

  /** `object.name`; a string's method comes back metered. */
  #member(node: Node, environment: Environment): Value {
    const property = node.property as Node;
    const known = node.computed === true ? property.type === "StringLiteral" : property.type === "Identifier";
    if (property.type === "SliceExpression" || (known && !METHODS.has(property.value as string))) {
      return super.evaluate(node as unknown as Statement, environment);
    }
    const object = this.evaluate(node.object as unknown as Statement, environment);
    const value = super.evaluate({ ...node, object: new Quoted(object) } as unknown as Statement, environment);
    if (value.type !== "FunctionValue" || !isString(object)) return value;
    const name = [...METHODS].find((method) => object.builtins.get(method) === value);
    return name === undefined ? value : this.#meteredMethod(name, object, value as Callable);
  }

  #meteredMethod(name: string, text: StringLike, method: Callable): Value {
    const ends = { strip: "both", lstrip: "left", rstrip: "right" } as const;
    return alike(method as Value, (args: Value[], scope: Environment) => {
      this.#spend(this.#cost(name, text, args) / PER_STEP);
      if (!(name in ends)) return method.value(args, scope);
      const characters = args[0]?.value as string | undefined;
      return alike(text, strip(text.value, ends[name as keyof typeof ends], characters ?? undefined));
    });
  }

  /** Characters and entries that a filter or method will go over or make, from what goes in. */
  #cost(name: string, operand: Value, args: Value[]): number {
    const n = length(operand);
    // A number is a width or an indent: it makes as many characters.
    const argument = args.reduce(
      (sum, arg) => sum + (typeof arg.value === "number" ? Math.abs(arg.value) : this.#size(arg).weight),
      0,
    );
    switch (name) {
      case "replace": {
        const [old, by] = args;
        return n + (n / Math.max(1, old ? length(old) : 1) + 1) * (by ? length(by) : 0);
      }
      case "split": // each part becomes a value
        return n + parts(operand, args[0]) * PER_STEP;
      case "join":
        return this.#size(operand).weight + n * argument;
      case "indent":
        return n + (String(operand.value).split("\n").length + 1) * argument;
      case "tojson": {
        const { weight, depth } = this.#size(operand);
        return weight * (1 + argument * depth);
      }
      case "sort":
      case "dictsort":
      case "unique":
      case "map":
        return (this.#size(operand).weight + n * argument) * Math.log2(n + 2);
      default:
        return name === "string" ? this.#size(operand).weight : n + argument;
    }
  }

  #size(value: Value): Size {
    if (typeof value.value === "string") return { weight: value.value.length, depth: 0 };
    const children = entries(value);
    if (children === undefined) return { weight: 1, depth: 0 };
    const known = this.#sizes.get(value);
    if (known !== undefined) return known;
    this.#sizes.set(value, ENDLESS); // stays so for what contains itself
    let [weight, depth] = [1, 0];
    for (const [key, child] of children) {
      const size = this.#size(child);
      weight += key.length + size.weight + 1;
      depth = Math.max(depth, size.depth);
    }
    this.#spend(1 + length(value) / PER_STEP);
    const size = { weight, depth: depth + 1 };
    if (size.depth > RUN_LIMITS.depth) throw tooCostly(`nests lists more than ${RUN_LIMITS.depth} deep`);
    this.#sizes.set(value, size);
    return size;
  }

  #spend(steps: number): void {
    this.#steps += steps;
    if (!(this.#steps <= RUN_LIMITS.steps))
      throw tooCostly(`needs more than ${RUN_LIMITS.steps.toLocaleString("en")} steps`);
  }
}

/** For each of these, Python's Jinja makes nothing of None. */
const SELECTING = new Set(["select", "reject", "selectattr", "rejectattr", "map"]);

/** Methods of strings that cost more than their string's length, or that Python does otherwise. */
const METHODS = new Set(["replace", "split", "strip", "lstrip", "rstrip", "startswith", "endswith"]);

/** A value in the place of an expression. */
class Quoted implements Node {
  readonly type = "Quoted";
  readonly [field: string]: unknown;
  readonly quoted: Value;
  constructor(quoted: Value) {
    this.quoted = quoted;
  }
}

function valueOf(arg: Node): Value {
  return (arg instanceof Quoted ? arg : (arg.value as Quoted)).quoted;
}

type StringLike = Value & { value: string; builtins: ReadonlyMap<string, Value> };
type Callable = Value & { value: (args: Value[], scope: Environment) => Value };

function isString(value: Value): value is StringLike {
  return typeof value.value === "string";
}

/** The package keeps its value classes to itself: another of the same class. */
function alike(value: Value, content: unknown): Value {
  return Reflect.construct(value.constructor, [content]) as Value;
}

/** A JavaScript value as the interpreter has it. */
function toValue(x: unknown): Value {
  return new Environment().set("value", x);
}

/** Characters of a string, entries of a list or mapping; else 1. */
function length(value: Value): number {
  const content: unknown = value.value;
  if (typeof content === "string" || Array.isArray(content)) return content.length;
  return content instanceof Map ? content.size : 1;
}

/** How many parts a text is split into, at most. */
function parts(text: Value, separator: Value | undefined): number {
  const [whole, by]: unknown[] = [text.value, separator?.value];
  if (typeof whole !== "string" || typeof by !== "string" || by === "") return length(text);
  let count = 1;
  for (let at = whole.indexOf(by); at >= 0; at = whole.indexOf(by, at + by.length)) count++;
  return count;
}

/** A container's entries; of a list, with empty keys. */
function entries(value: Value): Iterable<[string, Value]> | undefined {
  const content: unknown = value.value;
  if (Array.isArray(content)) return (content as Value[]).map((child) => ["", child]);
  return content instanceof Map ? (content as Map<string, Value>) : undefined;
}

function tooCostly(what: string): TemplateError {
  return new TemplateError(
    `The chat template ${what}: too costly to run. Use another template, or render the prompt yourself.`,
  );
}
