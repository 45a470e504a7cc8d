import { Environment } from "@huggingface/jinja";
import { TemplateError } from "../base/errors.ts";
import { MeteredInterpreter } from "./interpreter.ts";
import { strftime } from "./python.ts";
import { parseTemplate } from "./template.ts";

/** A message as a chat template sees it. */
export interface TemplateMessage {
  readonly role: string;
  readonly content: string;
  readonly name?: string;
}

export interface RenderOptions {
  bosToken?: string | undefined;
  eosToken?: string | undefined;
  /** End with the header of the assistant's turn; default true. */
  addGenerationPrompt?: boolean;
  /** Tools as JSON schemas, in OpenAI's form. */
  tools?: readonly unknown[];
  /** What `strftime_now` tells; default: now. */
  now?: Date;
}

/** As many entries as a `range` may have. */
const MAX_RANGE = 10_000;

/**
 * Renders a checkpoint's chat template (Jinja) as Hugging Face's `apply_chat_template` does. The result has the special
 * tokens in it: encode it with `specialTokens: false`. Throws TemplateError if the template cannot be parsed, costs too
 * much to run (template.ts, meter.ts), fails, or refuses these messages.
 */
export function renderChat(
  template: string,
  messages: readonly TemplateMessage[],
  options: RenderOptions = {},
): string {
  const program = parseTemplate(template);
  const now = options.now ?? new Date();
  const environment = new Environment();
  const globals: Record<string, unknown> = {
    true: true,
    false: false,
    none: null,
    True: true,
    False: false,
    None: null,
    range,
    raise_exception: refuse,
    strftime_now: (format: unknown) => strftime(now, checkedFormat(format)),
    messages,
    tools: options.tools ?? null,
    documents: null,
    add_generation_prompt: options.addGenerationPrompt ?? true,
    ...(options.bosToken === undefined ? {} : { bos_token: options.bosToken }),
    ...(options.eosToken === undefined ? {} : { eos_token: options.eosToken }),
  };
  for (const [name, value] of Object.entries(globals)) environment.set(name, value);
  try {
    return new MeteredInterpreter(environment, program).render();
  } catch (cause) {
    if (cause instanceof TemplateError) throw cause;
    const what = cause instanceof Error ? cause.message : String(cause);
    throw new TemplateError(`The chat template failed: ${what}. Use another template, or render the prompt yourself.`, {
      cause,
    });
  }
}

/** Python's `range`, with an end to it. */
function range(...args: unknown[]): number[] {
  const [first, second, step = 1] = args;
  const [start, stop] = second === undefined ? [0, first] : [first, second];
  if (![start, stop, step].every(Number.isInteger) || step === 0) {
    throw new TemplateError("The chat template asks for a range of something else than whole numbers. Use another.");
  }
  const count = Math.max(0, Math.ceil(((stop as number) - (start as number)) / (step as number)));
  if (count > MAX_RANGE) {
    throw new TemplateError(
      `The chat template asks for a range of ${count} numbers; ${MAX_RANGE} is the most. Use another template.`,
    );
  }
  return Array.from({ length: count }, (_, i) => (start as number) + i * (step as number));
}

function checkedFormat(format: unknown): string {
  if (typeof format === "string" && format.length <= 200) return format;
  throw new TemplateError("The chat template asks for the date in a format of over 200 characters. Use another.");
}

function refuse(message: unknown): never {
  const why = typeof message === "string" ? message : "it does not say why";
  throw new TemplateError(`The chat template refuses these messages: ${why}`);
}
