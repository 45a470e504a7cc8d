import { ArgumentError, type ChatMessage } from "../index.ts";

/**
 * A conversation: a JSON list of `{role, content}`, or an object with such a list as `messages`. Fields that a template
 * may want beside them are kept. Throws ArgumentError; `file` is its name in messages.
 */
export function parseMessages(json: string, file: string): ChatMessage[] {
  const fail = (what: string): never => {
    const form = '[{"role": "user", "content": "…"}] or {"messages": […]}';
    throw new ArgumentError(`--messages ${file}: ${what}. It holds ${form}.`);
  };
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (error) {
    return fail(`it is not JSON: ${(error as Error).message}`);
  }
  const list: unknown = Array.isArray(value) ? value : isObject(value) ? value.messages : undefined;
  if (!Array.isArray(list)) return fail("there is no list of messages in it");
  if (list.length === 0) return fail("the list of messages is empty");
  (list as unknown[]).forEach((message, i) => {
    if (!isObject(message)) return fail(`message ${i} is no object`);
    for (const field of ["role", "content"]) {
      if (typeof message[field] !== "string") return fail(`message ${i} has no ${field}, which is a string`);
    }
  });
  return list as ChatMessage[];
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
