import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { ArgumentError, Engine, type LoadProgress } from "../index.ts";
import type { ModelArgs } from "./args.ts";
import { formatBytes, StatusLine } from "./output.ts";

/** What is called M on the command line as a ModelSource: a plain path that exists here ("demo/model") is a path too. */
export function modelSource(model: string): string {
  const plain = !/^[./]|^[a-z]+:\/\//i.test(model);
  return plain && existsSync(model) ? `./${model}` : model;
}

/** Loads, runs, and disposes whatever happens. `loadMs`: what loading took. */
export async function withEngine<T>(
  { model, load }: ModelArgs,
  signal: AbortSignal,
  run: (engine: Engine, loadMs: number) => Promise<T>,
): Promise<T> {
  const begun = performance.now();
  const status = new StatusLine();
  const onProgress = (progress: LoadProgress): void => status.show(progressText(progress));
  const loading = Engine.load(modelSource(model), { ...load, signal, onProgress });
  const engine = await loading.finally(() => status.clear());
  try {
    return await run(engine, performance.now() - begun);
  } finally {
    await engine.dispose();
  }
}

function progressText({ stage, loaded, total, secondsLeft }: LoadProgress): string {
  const share = stage === "weights" ? `${formatBytes(loaded)} of ${formatBytes(total)}` : `${loaded} of ${total}`;
  return `loading: ${stage} ${share}${secondsLeft === undefined ? "" : `, ${Math.ceil(secondsLeft)} s left`}`;
}

/** A text file given by `--flag`. Throws ArgumentError if it cannot be read or is not UTF-8. */
export async function readTextFile(flag: string, file: string): Promise<string> {
  let bytes: Uint8Array;
  try {
    bytes = await readFile(file);
  } catch (error) {
    throw new ArgumentError(`--${flag} ${file}: it cannot be read (${(error as Error).message}). Check the path.`);
  }
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new ArgumentError(`--${flag} ${file}: it is not UTF-8 text. Convert it, for instance with iconv.`);
  }
}
