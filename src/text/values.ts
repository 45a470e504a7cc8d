/** The values of @huggingface/jinja's interpreter, whose classes the package keeps to itself: what can be told of them. */
import { Environment, type Interpreter } from "@huggingface/jinja";
import { strip } from "./python.ts";

export type Value = ReturnType<Interpreter["evaluate"]>;
export type Text = Value & { value: string };
export type Callable = Value & { value: (args: Value[], scope: Environment) => Value };

export function isText(value: Value): value is Text {
  return typeof value.value === "string";
}

export function isNumber(value: Value): value is Value & { value: number } {
  return typeof value.value === "number";
}

export function isList(value: Value): boolean {
  return Array.isArray(value.value);
}

export function isUndefined(value: Value): boolean {
  return value.type === "UndefinedValue";
}

/** None, or not there. */
export function isNothing(value: Value): boolean {
  return value.type === "NullValue" || isUndefined(value);
}

/** True, False, None. */
export function isConstant(value: Value): boolean {
  return typeof value.value === "boolean" || value.type === "NullValue";
}

/** A JavaScript value as the interpreter has it. */
export function toValue(x: unknown): Value {
  return new Environment().set("value", x);
}

/** Another value of the same class. */
export function alike(value: Value, content: unknown): Value {
  return Reflect.construct(value.constructor, [content]) as Value;
}

const TEXT = toValue("");

export function toText(text: string): Value {
  return alike(TEXT, text);
}

/** Constants as Python spells them. */
export function asPrinted(value: Value): Value {
  if (!isConstant(value)) return value;
  return toText(value.type === "NullValue" ? "None" : value.value === true ? "True" : "False");
}

export function stripped(text: Text, ends: "both" | "left" | "right", characters?: Value): Value {
  return alike(text, strip(text.value, ends, characters && isText(characters) ? characters.value : undefined));
}

/** UTF-16 units of a text, entries of a list or mapping; else 1. */
export function lengthOf(value: Value): number {
  const content: unknown = value.value;
  if (typeof content === "string" || Array.isArray(content)) return content.length;
  return content instanceof Map ? content.size : 1;
}

/** A container's entries; of a list, with empty keys. */
export function entriesOf(value: Value): [string, Value][] | undefined {
  const content: unknown = value.value;
  if (Array.isArray(content)) return (content as Value[]).map((child) => ["", child]);
  return content instanceof Map ? [...(content as Map<string, Value>)] : undefined;
}

/** How many parts a text is split into, at most. */
export function countParts(text: Value, separator: Value | undefined): number {
  if (!isText(text) || separator === undefined || !isText(separator) || separator.value === "") return lengthOf(text);
  let count = 1;
  for (let at = text.value.indexOf(separator.value); at >= 0; count++) {
    at = text.value.indexOf(separator.value, at + separator.value.length);
  }
  return count;
}
