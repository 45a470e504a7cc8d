import type { ChatMessage, Engine, Generation, GenerationResult } from "../index.ts";
import type { GenerateArgs, Input } from "./args.ts";
import { parseMessages } from "./messages.ts";
import { readTextFile, withEngine } from "./model.ts";
import { print, say } from "./output.ts";

export async function generate(args: GenerateArgs, signal: AbortSignal): Promise<void> {
  const input = await readInput(args.input);
  await withEngine(args, signal, async (engine, loadMs) => {
    const generation = engine.generate(input, { ...args.sampling, signal });
    if (args.json) {
      const result = await generation.result;
      await print(`${JSON.stringify(report(result, loadMs, engine))}\n`);
      return;
    }
    const single = (args.sampling.n ?? 1) === 1;
    if (single) await stream(generation, engine);
    const result = await generation.result;
    if (!single) await print(choices(result, engine));
    await say(summary(result, engine));
  });
}

async function readInput(input: Input): Promise<string | number[] | ChatMessage[]> {
  if ("prompt" in input) return input.prompt;
  if ("ids" in input) return input.ids;
  return parseMessages(await readTextFile("messages", input.messagesFile), input.messagesFile);
}

/** Text as it comes; ids where there is no tokenizer to make text of them. */
async function stream(generation: Generation, engine: Engine): Promise<void> {
  for await (const { ids, text } of generation) {
    await print(engine.model.tokenizer ? text : ids.map((id) => `${id} `).join(""));
  }
  await print("\n");
}

function choices(result: GenerationResult, engine: Engine): string {
  const all = result.choices.map(({ index, ids, text }) => {
    return `[${index + 1}/${result.choices.length}]\n${engine.model.tokenizer ? text : ids.join(" ")}\n`;
  });
  return all.join("\n");
}

/** What `--json` prints. Times in milliseconds. */
function report(result: GenerationResult, loadMs: number, engine: Engine): object {
  const { ids, text, finishReason, usage, timing, logprobs } = result;
  return {
    ids,
    text,
    finishReason,
    usage,
    timing: { loadMs, ...timing, tokensPerSecond: tokensPerSecond(result) },
    adapter: engine.stats().adapter,
    ...(logprobs && { logprobs }),
    ...(result.choices.length > 1 && { choices: result.choices }),
  };
}

/** Of the tokens after the first of each choice; null where there are none. */
function tokensPerSecond({ usage, timing, choices }: GenerationResult): number | null {
  const tokens = usage.completionTokens - choices.length;
  return tokens > 0 && timing.decodeMs > 0 ? (1000 * tokens) / timing.decodeMs : null;
}

function summary(result: GenerationResult, engine: Engine): string {
  const { usage, timing, finishReason } = result;
  const rate = tokensPerSecond(result);
  const { vendor, architecture, description } = engine.stats().adapter;
  return [
    `${usage.promptTokens} + ${usage.completionTokens} tokens (${finishReason})`,
    ...(usage.completionTokens > 0 ? [`first after ${timing.firstTokenMs.toFixed(0)} ms`] : []),
    ...(rate === null ? [] : [`${rate.toFixed(1)} tokens/s`]),
    description || [vendor, architecture].filter(Boolean).join(" ") || "unnamed adapter",
  ].join(", ");
}
