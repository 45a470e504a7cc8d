/**
 * Where tests find model folders, in Node and in the browser alike: the lanes' configuration (vitest.config.ts) says
 * where the repository and the shared data are to be had, as paths in Node and as URLs of the test server in Chromium.
 */
import { inject } from "vitest";

declare module "vitest" {
  interface ProvidedContext {
    /** "" plus an absolute path in Node, "/@fixtures" in the browser. */
    repository: string;
    /** The same for the shared data; null where there is none. */
    shared: string | null;
    /** Every file of the shared data, and every folder, relative to it. */
    sharedEntries: string[];
    /** The lane that runs: "pure", "chromium", "dawn-lavapipe", … */
    lane: string;
    /** The lane goes without optional GPU features. */
    plain: boolean;
  }
}

function source(root: string, relative: string): string {
  const path = `${root}/${relative}`;
  return root.startsWith("/@") ? new URL(path, globalThis.location.href).href : path;
}

/** A ModelSource for a folder of this repository, such as "tests/fixtures/llama/untied-f32" or "demo/public/model". */
export function fixtureSource(relative: string): string {
  return source(inject("repository"), relative);
}

/** A ModelSource for a folder of the shared data, such as "models/stories260K/f32"; null if it is not there. */
export function sharedSource(relative: string): string | null {
  const root = inject("shared");
  return root !== null && inject("sharedEntries").includes(relative) ? source(root, relative) : null;
}

/** The bytes of one file, by what `fixtureSource` or `sharedSource` gave for it or for its folder plus "/name". */
export async function readBytes(file: string): Promise<Uint8Array> {
  if (/^https?:/.test(file)) {
    const response = await fetch(file);
    if (!response.ok) throw new Error(`${file}: HTTP ${response.status}`);
    return new Uint8Array(await response.arrayBuffer());
  }
  const { readFile } = await import("node:fs/promises");
  return new Uint8Array(await readFile(file));
}

/** A JSON file of this repository, parsed. */
export async function readFixtureJson<T = unknown>(relative: string): Promise<T> {
  return JSON.parse(new TextDecoder().decode(await readBytes(fixtureSource(relative)))) as T;
}

/** A JSON file of the shared data, parsed; null if it is not there. */
export async function readSharedJson<T = unknown>(relative: string): Promise<T | null> {
  const file = sharedSource(relative);
  return file === null ? null : (JSON.parse(new TextDecoder().decode(await readBytes(file))) as T);
}
