/**
 * @huggingface/jinja's interpreter with a meter (meter.ts). Each evaluation costs a step; each turn of a loop costs
 * before the loop runs; an operation that goes over text or lists costs by what goes in and what comes out, before it
 * runs. (Joining text end to end costs only its step: JavaScript does that without copying.) Beside that, a few
 * operations are done as Python does them, where published templates show the difference.
 */
import { Interpreter, type Environment } from "@huggingface/jinja";
import { TemplateError } from "../base/errors.ts";
import { COST, Meter, stepsOver } from "./meter.ts";
import { childrenOf, type Node } from "./template.ts";
import {
  alike,
  asPrinted,
  isConstant,
  isList,
  isNothing,
  isText,
  isUndefined,
  lengthOf,
  stripped,
  toText,
  toValue,
  type Callable,
  type Value,
} from "./values.ts";

type Statement = NonNullable<Parameters<Interpreter["evaluate"]>[0]>;

export class MeteredInterpreter extends Interpreter {
  readonly #meter = new Meter();
  readonly #printed = new WeakSet<Node>();
  readonly #loopedOver = new WeakSet<Node>();
  readonly #handed = new WeakSet<Node>();
  /** Parts that the package searches through each time it comes to them, and how many nodes that is. */
  readonly #searched = new WeakMap<Node, number>();
  readonly #loopExit = new LoopExit();
  readonly #program: Node;

  constructor(environment: Environment, program: Node) {
    super(environment);
    this.#program = program;
    this.#mark(program);
  }

  /** Once: the meter does not start over. */
  render(): string {
    return this.#block([this.#program], this.global);
  }

  /** Finds the parts whose value is printed, looped over, or handed to a call; counts what is within a macro. */
  #mark(node: Node): number {
    if (node.type === "For") {
      const iterable = node.iterable as Node;
      this.#loopedOver.add(iterable.type === "SelectExpression" ? (iterable.lhs as Node) : iterable);
    }
    for (const block of [node.body, node.alternate, node.defaultBlock]) {
      if (Array.isArray(block)) for (const part of block as Node[]) this.#printed.add(part);
    }
    if (node.type === "CallExpression") {
      for (const arg of node.args as Node[]) {
        const named = arg.type === "KeywordArgumentExpression";
        this.#handed.add(
          arg.type.endsWith("SpreadExpression") ? (arg.argument as Node) : named ? (arg.value as Node) : arg,
        );
      }
    }
    const nodes = childrenOf(node).reduce((sum, child) => sum + this.#mark(child), 1);
    if (node.type === "Macro" || node.type === "CallStatement") this.#searched.set(node, nodes);
    return nodes;
  }

  override evaluate(statement: Statement | undefined, environment: Environment): Value {
    if (statement === undefined) return super.evaluate(statement, environment);
    const node = statement as unknown as Node;
    if (node instanceof Quoted) return node.quoted;
    this.#meter.spend(1);
    this.#meter.enter();
    try {
      const printed = this.#printed.has(node) && !SILENT.has(node.type);
      const evaluated = this.#evaluateNode(node, environment);
      const value = printed ? asPrinted(evaluated) : evaluated;
      this.#meter.checkLength(value);
      if (this.#handed.has(node)) this.#meter.spend(stepsOver(value)); // to spread it, to copy it
      if (this.#loopedOver.has(node)) this.#meter.spend(lengthOf(value) * COST.turn);
      if (printed && !isText(value)) this.#meter.spend(this.#meter.stepsThrough(value));
      return value;
    } finally {
      this.#meter.leave();
    }
  }

  #evaluateNode(node: Node, environment: Environment): Value {
    switch (node.type) {
      case "Program":
        return toText(this.#block(node.body as Node[], environment));
      case "FilterExpression":
        return this.#filter(node, environment);
      case "FilterStatement": // {% filter f %} … {% endfilter %}: the filter applied to what the block prints
        return this.#filter({ ...node, operand: { type: "Program", body: node.body } }, environment);
      case "MemberExpression":
        return this.#member(node, environment);
      case "BinaryExpression":
        return this.#binary(node, environment);
      case "TestExpression": {
        const operand = this.#quote(node.operand, environment);
        this.#meter.spend(stepsOver(operand.quoted)); // "is lower" reads it all
        return this.#plain({ ...node, operand }, environment);
      }
      case "If": {
        const test = this.#quote(node.test, environment).quoted;
        return toText(this.#block((test.__bool__().value ? node.body : node.alternate) as Node[], environment));
      }
      case "For":
        return this.#for(node, environment);
      case "Turn":
        return this.#turn(node as Turn, environment);
      case "Break":
      case "Continue":
        this.#loopExit.kind = node.type;
        this.#loopExit.text = "";
        throw this.#loopExit;
      case "Macro":
      case "CallStatement":
        this.#meter.spend((this.#searched.get(node) ?? 0) * COST.node);
        return this.#plain(node, environment);
      case "CallExpression": {
        this.#meter.spend(COST.call);
        const value = this.#withKeys(this.#plain(node, environment));
        const byName = (node.args as Node[]).every(({ type }) => type.startsWith("Keyword"));
        if (value.type !== "NamespaceValue" || byName) return value;
        throw new TemplateError("The chat template makes a namespace of a list, which is not supported. Use another.");
      }
      case "ObjectLiteral":
        return this.#withKeys(this.#plain(node, environment));
      case "Identifier": {
        const value = this.#plain(node, environment);
        if (isUndefined(value)) this.#meter.spend(COST.missing);
        return value;
      }
      case "Set": {
        const nothing = this.#plain(node, environment);
        if ((node.assignee as Node).type === "MemberExpression") this.#meter.forgetSizes();
        return nothing;
      }
      default:
        return this.#plain(node, environment);
    }
  }

  /** A mapping or namespace just made, its keys paid for. */
  #withKeys(value: Value): Value {
    if (value.value instanceof Map) this.#meter.spend(stepsOver(toText([...value.value.keys()].join(""))));
    return value;
  }

  /** As the package does it. */
  #plain(node: Node, environment: Environment): Value {
    return super.evaluate(node, environment);
  }

  /** Evaluates a part once, so that its size is known before it is put to use. */
  #quote(node: unknown, environment: Environment): Quoted {
    return new Quoted(this.evaluate(node as Statement, environment));
  }

  /** What a block prints. */
  #block(statements: readonly Node[], environment: Environment): string {
    let text = "";
    try {
      for (const statement of statements) {
        const value = this.evaluate(statement, environment);
        if (!isNothing(value)) text += value.toString();
        this.#meter.checkTextLength(text.length);
      }
    } catch (error) {
      if (error === this.#loopExit) this.#loopExit.text = text + this.#loopExit.text;
      throw error;
    }
    return text;
  }

  /** A loop. The package loses what a turn printed before `break` or `continue`, so the turns print to one text here. */
  #for(node: Node, environment: Environment): Value {
    const turn: Turn = { type: "Turn", statements: node.body as Node[], printed: "", finished: false };
    try {
      this.#plain({ ...node, body: [turn], defaultBlock: [] }, environment);
    } catch (error) {
      if (error !== this.#loopExit || this.#loopExit.kind !== "Break") throw error;
      turn.printed += this.#loopExit.text;
    }
    const otherwise = turn.finished ? "" : this.#block(node.defaultBlock as Node[], environment);
    return toText(turn.printed + otherwise);
  }

  #turn(turn: Turn, environment: Environment): Value {
    try {
      turn.printed += this.#block(turn.statements, environment);
      this.#meter.checkTextLength(turn.printed.length);
      turn.finished = true;
    } catch (error) {
      if (error !== this.#loopExit || this.#loopExit.kind !== "Continue") throw error;
      turn.printed += this.#loopExit.text;
    }
    return toText("");
  }

  /** Arithmetic and comparison. Either may turn a list into text. */
  #binary(node: Node, environment: Environment): Value {
    const { value: operator } = node.operator as { value: string };
    if (operator === "and" || operator === "or") return this.#plain(node, environment);
    const sides = [node.left, node.right].map((side) => this.#quote(side, environment).quoted);
    const joins = operator === "+" || operator === "~";
    for (const side of sides) {
      if (joins && isText(side)) continue;
      this.#meter.spend(joins && sides.every(isList) ? stepsOver(side) : this.#meter.stepsThrough(side));
    }
    const [left, right] = sides.map((side) => new Quoted(operator === "~" ? asPrinted(side) : side));
    return this.#plain({ ...node, left, right }, environment);
  }

  #filter(node: Node, environment: Environment): Value {
    const filter = node.filter as Node;
    const called = filter.type === "CallExpression";
    const name = String((called ? (filter.callee as Node) : filter).value);
    const operand = this.#quote(node.operand, environment);
    const value = operand.quoted;
    const args = called ? this.#quoteArguments(filter.args as Node[], environment) : [];
    this.#meter.spend(this.#meter.stepsOf(name, value, args.map(valueOf)));

    if (name === "trim" && isText(value)) return stripped(value, "both", args[0] && valueOf(args[0]));
    if (name === "trim" && isUndefined(value)) return toText("");
    if (name === "length" && isText(value)) return toValue(Array.from(value.value).length); // in code points
    if (name === "string" && isConstant(value)) return asPrinted(value);
    if (SELECTING.has(name) && isNothing(value)) return toValue([]);
    // selectattr and rejectattr insist on literals: they get the nodes as they are.
    const given = SELECTING.has(name) && name !== "map" ? filter.args : args;
    const quoted = called ? { ...filter, args: given } : filter;
    return this.#plain({ type: "FilterExpression", operand, filter: quoted }, environment);
  }

  #quoteArguments(args: Node[], environment: Environment): Node[] {
    return args.map((arg) => {
      if (arg.type === "SpreadExpression" || arg.type === "KeywordSpreadExpression") {
        throw new TemplateError(
          "The chat template spreads a list into a filter's arguments: not supported. Use another.",
        );
      }
      if (arg.type !== "KeywordArgumentExpression") return this.#quote(arg, environment);
      return { ...arg, value: this.#quote(arg.value, environment) };
    });
  }

  /** `object.name`, `object[key]`, `object[from:to]`. Methods come back metered. */
  #member(node: Node, environment: Environment): Value {
    const property = node.property as Node;
    const named = property.type === (node.computed === true ? "StringLiteral" : "Identifier");
    if (named && !METHODS.has(property.value as string)) return this.#plain(node, environment);

    const object = this.#quote(node.object, environment);
    const slice = property.type === "SliceExpression";
    const key = named || slice ? property : this.#quote(property, environment);
    if (slice) this.#meter.spend(lengthOf(object.quoted) * COST.entry);
    else if (isText(object.quoted)) this.#meter.spend(stepsOver(object.quoted));
    if (key instanceof Quoted) this.#meter.spend(stepsOver(key.quoted)); // to look it up
    const value = this.#plain({ ...node, object, property: key }, environment);
    return value.type === "FunctionValue" ? this.#metered(object.quoted, value as Callable) : value;
  }

  #metered(object: Value, method: Callable): Value {
    const name = [...METHODS].find((candidate) => object.builtins.get(candidate) === method);
    if (name === undefined) return method;
    return alike(method, (args: Value[], scope: Environment) => {
      this.#meter.spend(this.#meter.stepsOf(name, object, args));
      const ends = ENDS.get(name);
      return ends !== undefined && isText(object) ? stripped(object, ends, args[0]) : method.value(args, scope);
    });
  }
}

/** Of None, Python's Jinja makes an empty list with each of these. */
const SELECTING = new Set(["select", "reject", "selectattr", "rejectattr", "map"]);

const ENDS: ReadonlyMap<string, "both" | "left" | "right"> = new Map([
  ["strip", "both"],
  ["lstrip", "left"],
  ["rstrip", "right"],
]);

/** The package's methods of strings and mappings, all of which go over something. */
const METHODS = new Set([
  ...["upper", "lower", "title", "capitalize", "startswith", "endswith", "split", "replace", ...ENDS.keys()],
  ...["get", "items", "keys", "values", "dictsort"],
]);

/** Statements that print nothing; the package says null for that. */
const SILENT = new Set(["Set", "Macro", "Comment"]);

/** The body of a loop while it runs. */
interface Turn extends Node {
  readonly type: "Turn";
  readonly statements: readonly Node[];
  /** By this turn and those before it. */
  printed: string;
  /** Whether any turn came to its end; else Jinja runs the loop's `else`, even after turns that broke off. */
  finished: boolean;
}

/** `break` or `continue` on its way to the loop, with what the turn has printed. */
class LoopExit extends Error {
  kind: "Break" | "Continue" = "Break";
  text = "";
}

/** A value in the place of an expression. */
class Quoted implements Node {
  readonly type = "Quoted";
  readonly [field: string]: unknown;
  readonly quoted: Value;
  constructor(quoted: Value) {
    this.quoted = quoted;
  }
}

/** Of an argument that was quoted, perhaps below its keyword. */
function valueOf(arg: Node): Value {
  return (arg instanceof Quoted ? arg : (arg.value as Quoted)).quoted;
}
