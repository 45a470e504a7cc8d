import { randomUUID } from "node:crypto";
import { rename, rm, stat, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { ArgumentError } from "../index.ts";
import { encodeSafetensors } from "../weights/write.ts";
import type { LogitsArgs } from "./args.ts";
import { withEngine } from "./model.ts";
import { print } from "./output.ts";

export async function logits(args: LogitsArgs, signal: AbortSignal): Promise<void> {
  const { ids, out } = args;
  await checkFolder(out); // before the work, not after it
  await withEngine(args, signal, async (engine) => {
    const values = await engine.logits(ids, { rows: "all", signal });
    const shape = [ids.length, engine.model.vocabSize];
    const data = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    await writeWhole(out, encodeSafetensors([{ name: "logits", dtype: "F32", shape, data }]));
    await print(`logits [${shape.join(", ")}] F32 in ${out}\n`);
  });
}

async function checkFolder(out: string): Promise<void> {
  const folder = dirname(out);
  const found = await stat(folder).catch(() => undefined);
  if (!found?.isDirectory()) throw new ArgumentError(`--out ${out}: there is no folder ${folder}. Make it first.`);
}

/** Under a name of its own until it is complete, so that nobody sees half a file. */
async function writeWhole(path: string, bytes: Uint8Array): Promise<void> {
  const part = `${path}.${randomUUID()}.part`;
  try {
    await writeFile(part, bytes);
    await rename(part, path);
  } catch (error) {
    await rm(part, { force: true });
    const { message } = error as Error;
    throw new ArgumentError(`--out ${path}: it cannot be written (${message}). Choose another place.`);
  }
}
