import { existsSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

/** The repository's root folder. Node only, as is all of this file; fixtures.ts is for both sides. */
export const repoRoot = resolve(dirname(fileURLToPath(import.meta.url)), "../..");

/** The folder of shared data: TESSERA_SHARED, else the neighbour of the repository named "shared"; null if absent. */
export function sharedRoot(): string | null {
  const folder = resolve(repoRoot, process.env["TESSERA_SHARED"] || "../shared");
  return existsSync(folder) ? folder : null;
}

/** A file or folder of the shared data, such as "models/stories260K/f32"; null if it is not there: skip the test. */
export function sharedPath(relative: string): string | null {
  const root = sharedRoot();
  if (root === null) return null;
  const path = join(root, relative);
  return existsSync(path) ? path : null;
}
