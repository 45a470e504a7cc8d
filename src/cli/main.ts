/** The command line: `tessera COMMAND …`, see help.ts. Built into dist/cli.js. */
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { readArgs, type Invocation } from "./args.ts";
import { bench } from "./bench.ts";
import { failureOf } from "./failure.ts";
import { generate } from "./generate.ts";
import { inspect } from "./inspect.ts";
import { logits } from "./logits.ts";
import { print, say } from "./output.ts";
import { perplexity } from "./perplexity.ts";

async function run(invocation: Invocation, signal: AbortSignal): Promise<void> {
  switch (invocation.command) {
    case "help":
      return print(`${invocation.text}\n`);
    case "version":
      return print(`${version()}\n`);
    case "generate":
      return generate(invocation, signal);
    case "logits":
      return logits(invocation, signal);
    case "perplexity":
      return perplexity(invocation, signal);
    case "inspect":
      return inspect(invocation, signal);
    case "bench":
      return bench(invocation, signal);
  }
}

/** package.json lies above dist/, where this is built to. */
function version(): string {
  const file = join(dirname(fileURLToPath(import.meta.url)), "../package.json");
  return (JSON.parse(readFileSync(file, "utf8")) as { version: string }).version;
}

async function main(): Promise<number> {
  const interrupt = new AbortController();
  process.on("SIGINT", () => {
    if (interrupt.signal.aborted) process.exit(130); // asked twice: at once
    interrupt.abort();
  });
  // A reader that goes away is the failed write's news to tell; unheard, the event would end the process.
  process.stdout.on("error", () => undefined);
  process.stderr.on("error", () => undefined);
  process.on("uncaughtException", (error) => void fail(error).then((status) => process.exit(status)));
  try {
    await run(readArgs(process.argv.slice(2)), interrupt.signal);
    return interrupt.signal.aborted ? 130 : 0;
  } catch (error) {
    return fail(error);
  }
}

async function fail(error: unknown): Promise<number> {
  const { status, message } = failureOf(error);
  if (message) await say(message).catch(() => undefined);
  return status;
}

// Every write has been taken by the system; Dawn's threads would keep the process.
process.exit(await main());
