// npm run build [-- PART …]: the library, its types, the command line and the demo, all into dist/. PART is one of those
// four; default: all.
import { spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, mkdirSync, renameSync, rmSync, utimesSync } from "node:fs";
import { join } from "node:path";
import { installPackages, root } from "./lib/packages.mjs";

const dist = join(root, "dist");

/** Settings of both bundles: nothing of demo/, no config file; workers are real files (a strict CSP forbids blobs). */
const common = /** @type {const} */ ({ root, configFile: false, publicDir: false, base: "./", logLevel: "warn" });

/**
 * Vite wraps a worker's address in a second URL. Unwrapped, `new Worker(new URL("./x.js", import.meta.url))` is what the
 * bundlers of those who use the library look for.
 * @type {import("vite").Plugin}
 */
const plainWorkerUrls = {
  name: "plain worker URLs",
  enforce: "post",
  generateBundle(_options, bundle) {
    const wrapped =
      /new URL\(\s*\/\* @vite-ignore \*\/\s*new URL\("([^"]+)", import\.meta\.url\)\.href,\s*"" \+ import\.meta\.url\s*\)/g;
    for (const chunk of Object.values(bundle)) {
      if (chunk.type === "chunk") chunk.code = chunk.code.replace(wrapped, 'new URL("./$1", import.meta.url)');
      if (chunk.type === "chunk" && /new Worker\((?!new URL\("\.)/.test(chunk.code.replace(/\/\*[\s\S]*?\*\//g, ""))) {
        throw new Error(`${chunk.fileName}: a worker's address is not in the form that bundlers know`);
      }
    }
  },
};

/** dist/index.js: an ES module for bundlers and import maps; what it depends on stays an import. */
async function library() {
  const { build } = await import("vite");
  const chunks = { entryFileNames: "chunks/[name].js", chunkFileNames: "chunks/[name].js" };
  rmSync(join(dist, "chunks"), { recursive: true, force: true });
  await build({
    ...common,
    plugins: [plainWorkerUrls],
    worker: { format: "es", rolldownOptions: { output: chunks } },
    build: {
      target: "es2022",
      outDir: dist,
      emptyOutDir: false,
      sourcemap: true,
      minify: false,
      lib: { entry: join(root, "src/index.ts"), formats: ["es"], fileName: () => "index.js" },
      rolldownOptions: {
        external: [/^@huggingface\//, "webgpu", /^node:/],
        output: { chunkFileNames: chunks.chunkFileNames },
      },
    },
  });
}

/** dist/types: declarations, one for each source file. */
async function types() {
  const tsc = join(root, "node_modules/typescript/bin/tsc");
  const { status } = spawnSync(process.execPath, [tsc, "-p", "tsconfig.build.json"], { cwd: root, stdio: "inherit" });
  if (status !== 0) throw new Error("the declarations could not be made; tsc says why above.");
}

/** dist/cli.js: one file that runs in Node with nothing beside it but node_modules/webgpu. */
async function cli() {
  const { build } = await import("vite");
  mkdirSync(dist, { recursive: true });
  const started = new Date();
  const folder = mkdtempSync(join(dist, ".cli-"));
  try {
    await build({
      ...common,
      ssr: { noExternal: true, external: ["webgpu"], target: "node" },
      build: {
        target: "node20",
        outDir: folder,
        ssr: join(root, "src/cli/main.ts"),
        minify: false,
        rolldownOptions: {
          output: { entryFileNames: "cli.js", banner: "#!/usr/bin/env node", codeSplitting: false },
        },
      },
    });
    const file = join(folder, "cli.js");
    chmodSync(file, 0o755);
    utimesSync(file, started, started); // a source that changed during the build is newer than its result
    renameSync(file, join(dist, "cli.js")); // at once, since another process may be running it
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** dist/demo: the pages, for any static host. */
async function demo() {
  const { build } = await import("vite");
  await build({ configFile: join(root, "vite.config.ts"), logLevel: "warn" });
}

/** @type {Record<string, () => Promise<void>>} */
const parts = { library, types, cli, demo };

async function main() {
  const wanted = process.argv.slice(2);
  const unknown = wanted.find((name) => !(name in parts));
  if (unknown !== undefined) throw new Error(`there is no part ${unknown}. Parts: ${Object.keys(parts).join(", ")}.`);
  installPackages();
  for (const [name, make] of Object.entries(parts)) {
    if (wanted.length > 0 && !wanted.includes(name)) continue;
    const from = performance.now();
    await make();
    console.error(`built ${name} in ${((performance.now() - from) / 1000).toFixed(1)} s`);
  }
}

main().catch((error) => {
  console.error(`npm run build: ${error instanceof Error ? error.message : error}`);
  process.exit(1);
});
