import { ArgumentError, type AdapterInfo, type Engine } from "../index.ts";
import type { PerplexityArgs } from "./args.ts";
import { readTextFile, withEngine } from "./model.ts";
import { formatCount, print, StatusLine } from "./output.ts";
import { cutWindows, prefixOf, splitDocuments, type Window } from "./windows.ts";

export interface Measured {
  natsPerToken: number;
  bitsPerByte: number;
  perplexity: number;
  tokens: number;
  bytes: number;
  documents: number;
  windows: number;
  /** Of scoring; loading and tokenizing are not in it. */
  seconds: number;
  adapter: AdapterInfo;
}

/** help.ts says what is computed. */
export async function perplexity(args: PerplexityArgs, signal: AbortSignal): Promise<void> {
  const text = await readTextFile("text", args.textFile);
  await withEngine(args, signal, async (engine) => {
    const measured = await measure(engine, text, signal);
    await print(args.json ? `${JSON.stringify(measured)}\n` : describe(measured));
  });
}

async function measure(engine: Engine, text: string, signal: AbortSignal): Promise<Measured> {
  const documents = splitDocuments(text);
  const prefix = await findPrefix(engine, documents[0] ?? "");
  const windows: Window[] = [];
  let bytes = 0;
  for (const document of documents) {
    const ids = await engine.encode(document, { specialTokens: false });
    windows.push(...cutWindows(ids, prefix, engine.model.contextTokens));
    bytes += Buffer.byteLength(document);
    const unscored = prefix.length === 0 ? ids.slice(0, 1) : [];
    bytes -= Buffer.byteLength(await engine.decode(unscored, { skipSpecialTokens: false }));
  }
  if (windows.length === 0) throw new ArgumentError("There is nothing to score: the text is empty, or of one token.");
  const begun = performance.now();
  const { nats, tokens } = await score(engine, windows, signal);
  return {
    natsPerToken: nats / tokens,
    bitsPerByte: nats / Math.LN2 / bytes,
    perplexity: Math.exp(nats / tokens),
    tokens,
    bytes,
    documents: documents.length,
    windows: windows.length,
    seconds: (performance.now() - begun) / 1000,
    adapter: engine.stats().adapter,
  };
}

async function score(
  engine: Engine,
  windows: Window[],
  signal: AbortSignal,
): Promise<{ nats: number; tokens: number }> {
  const status = new StatusLine();
  let nats = 0;
  let tokens = 0;
  try {
    for (const [i, { ids, from }] of windows.entries()) {
      status.show(`scoring: window ${i + 1} of ${windows.length}`);
      const scored = (await engine.score(ids, { signal })).subarray(from);
      nats -= scored.reduce((sum, logProbability) => sum + logProbability, 0);
      tokens += scored.length;
    }
  } finally {
    status.clear();
  }
  return { nats, tokens };
}

/** From a line of the text itself, since a tokenizer may know no other characters. */
async function findPrefix(engine: Engine, text: string): Promise<number[]> {
  const line = text.split("\n").find((candidate) => candidate.trim() !== "") ?? text;
  return prefixOf(await engine.encode(line), await engine.encode(line, { specialTokens: false }));
}

/** The same for people. */
export function describe(measured: Measured): string {
  const { natsPerToken, bitsPerByte, tokens, bytes, documents, windows, seconds } = measured;
  const rows: [string, string][] = [
    ["nats per token", natsPerToken.toFixed(5)],
    ["bits per byte", bitsPerByte.toFixed(5)],
    ["perplexity", measured.perplexity.toFixed(4)],
    ["tokens", formatCount(tokens)],
    ["bytes", formatCount(bytes)],
    ["documents", formatCount(documents)],
    ["windows", formatCount(windows)],
    ["seconds", seconds.toFixed(2)],
  ];
  return rows.map(([name, value]) => `${name.padEnd(16)}${value}\n`).join("");
}
