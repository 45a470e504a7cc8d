import { readSource, resolveImport, type Import, type SourceFile } from "./imports.ts";

/**
 * The house's table (ARCHITECTURE.md). `values` names the rooms whose code a room may run, "weights/quant" being a part
 * of one; types may come from any lower level. A room always knows itself.
 */
const rooms: Record<string, { level: number; values: readonly string[] }> = {
  base: { level: 0, values: [] },
  gpu: { level: 1, values: ["base"] },
  weights: { level: 1, values: ["base"] },
  store: { level: 1, values: ["base"] },
  text: { level: 1, values: ["base"] },
  kernels: { level: 2, values: ["gpu", "weights/quant", "base"] },
  models: { level: 3, values: ["kernels", "gpu", "weights", "base"] },
  engine: { level: 4, values: ["models", "kernels", "gpu", "weights", "store", "text", "base"] },
  worker: { level: 5, values: ["engine", "base"] },
  api: { level: 6, values: ["worker", "engine", "base"] },
  index: {
    level: 7,
    values: ["api", "worker", "engine", "models", "kernels", "gpu", "weights", "store", "text", "base"],
  },
};
const below = Object.keys(rooms);
rooms["bench"] = { level: 8, values: below };
rooms["widget"] = { level: 8, values: below };
rooms["cli"] = { level: 8, values: [...below, "bench"] }; // `tessera bench` is the same code as the page's

/** Which rooms may name a package at all. */
const packages: readonly [pattern: RegExp, rooms: readonly string[]][] = [
  [/^@huggingface\//, ["text"]],
  [/^webgpu$/, ["gpu"]],
  [/^node:/, ["gpu", "store", "worker", "bench", "cli"]],
];

/** The only files of src/ that a page of demo/ may import. */
const publicEntries = ["src/index.ts", "src/bench/index.ts", "src/widget/index.ts"];

/** "src/engine/core.ts" → "engine", "src/index.ts" → "index". */
function roomOf(path: string): string {
  return path.split("/")[1]?.replace(/\.ts$/, "") ?? "";
}

function mayRun(from: string, targetPath: string): boolean {
  return (
    (rooms[from]?.values ?? []).some((allowed) => targetPath.startsWith(`src/${allowed}/`)) ||
    sameRoom(from, targetPath)
  );
}

function sameRoom(room: string, targetPath: string): boolean {
  return roomOf(targetPath) === room;
}

/** What is wrong with one import of a file in src/; null if nothing is. */
function judge(path: string, target: string, typeOnly: boolean): string | null {
  const room = roomOf(path);
  if (target.startsWith("shaders/")) {
    return room === "kernels" || room === "bench" ? null : "shaders are for kernels/ and bench/";
  }
  if (!target.startsWith("src/")) return "src/ imports nothing outside of src/ and shaders/";
  const [from, to] = [rooms[room], rooms[roomOf(target)]];
  if (from === undefined || to === undefined) return `no such room in the table: ${from ? roomOf(target) : room}`;
  if (sameRoom(room, target)) return null;
  if (mayRun(room, target) || (roomOf(target) === "index" && from.values.includes("index"))) return null;
  if (to.level > from.level) return "upward";
  if (to.level === from.level) return "sideways";
  return typeOnly ? null : `${room}/ may only take types from ${roomOf(target)}/ (use import type)`;
}

function judgePackage(room: string, specifier: string, typeOnly: boolean): string | null {
  if (typeOnly && room !== "demo") return null;
  const allowed = packages.find(([pattern]) => pattern.test(specifier))?.[1];
  if (allowed === undefined) return "no room may import this package";
  return allowed.includes(room) ? null : `this package is for ${allowed.map((name) => `${name}/`).join(", ")}`;
}

function judgeDemo(target: string): string | null {
  if (target.startsWith("demo/") || publicEntries.includes(target)) return null;
  return `demo/ imports only ${publicEntries.join(", ")}`;
}

function importViolations(path: string, imports: Import[], exists: (target: string) => boolean): string[] {
  return imports.flatMap(({ specifier, typeOnly, line }) => {
    const target = resolveImport(path, specifier);
    const inDemo = path.startsWith("demo/");
    const fault =
      target === null
        ? judgePackage(inDemo ? "demo" : roomOf(path), specifier, typeOnly)
        : ((inDemo ? judgeDemo(target) : judge(path, target, typeOnly)) ??
          (exists(target) ? null : "no such file (imports carry their extension)"));
    return fault === null ? [] : [`${path}:${line}: imports ${specifier}: ${fault}`];
  });
}

/** Circles of files, each once, as "a → b → a". */
function circles(files: Map<string, SourceFile>): string[] {
  const found: string[] = [];
  const done = new Set<string>();
  const walk = (path: string, trail: string[]): void => {
    const start = trail.indexOf(path);
    if (start >= 0) {
      found.push(`circular: ${[...trail.slice(start), path].join(" → ")}`);
      return;
    }
    if (done.has(path)) return;
    for (const { specifier } of files.get(path)?.imports ?? []) {
      const target = resolveImport(path, specifier);
      if (target !== null && files.has(target)) walk(target, [...trail, path]);
    }
    done.add(path);
  };
  for (const path of files.keys()) walk(path, []);
  return found;
}

/**
 * Everything in `sources` (text by repository path: src/**, demo/**, and shaders/** for their names) that breaks the
 * table, a line each.
 */
export function layerViolations(sources: ReadonlyMap<string, string>): string[] {
  const files = new Map<string, SourceFile>();
  for (const [path, text] of sources) if (/^(src|demo)\/.*\.ts$/.test(path)) files.set(path, readSource(path, text));
  const violations: string[] = [];
  for (const [path, file] of files) {
    violations.push(...importViolations(path, file.imports, (target) => sources.has(target)));
    const pipelines = [...file.identifiers].some((name) => /^create(Compute|Render)Pipeline/.test(name));
    if (pipelines && path !== "src/kernels/define.ts") {
      violations.push(`${path}: makes a pipeline; src/kernels/define.ts alone does`);
    }
    if (path === "src/index.ts" && !file.reexportsOnly) violations.push(`${path}: holds more than re-exports`);
  }
  return [...violations, ...circles(files)];
}
