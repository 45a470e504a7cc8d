// node scripts/soak.mjs [--requests 200] [--loads 20] [--seed 1] [--model FOLDER]: many random requests with random cancels on
// one engine, then loads and disposals one after another. Prints what was left behind, and ends with 1 if anything was. Runs
// on Mesa's software driver where there is one, unless VK_DRIVER_FILES names another.
import { join } from "node:path";
import { parseArgs } from "node:util";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { installPackages, root } from "./lib/packages.mjs";
import { findLavapipe } from "./lib/vulkan.mjs";

setFlagsFromString("--expose-gc");
const collect = /** @type {() => void} */ (runInNewContext("gc"));

/** @returns {number} bytes of the heap after a forced collection */
function heapBytes() {
  collect();
  return process.memoryUsage().heapUsed;
}

function readArgs() {
  const text = /** @type {const} */ ("string");
  const options = {
    requests: { type: text, default: "200" },
    loads: { type: text, default: "20" },
    seed: { type: text, default: "1" },
    model: { type: text, default: join(root, "demo/public/model") },
  };
  const { values } = parseArgs({ options });
  const [requests, loads, seed] = [values.requests, values.loads, values.seed].map(Number);
  if (![requests, loads, seed].every((n) => Number.isInteger(n) && Number(n) >= 0)) {
    throw new Error("--requests, --loads and --seed have to be whole numbers.");
  }
  return { requests: Number(requests), loads: Number(loads), seed: Number(seed), model: values.model };
}

async function main() {
  const { requests, loads, seed, model } = readArgs();
  installPackages();
  const driver = findLavapipe();
  if (driver !== undefined) process.env["VK_DRIVER_FILES"] ??= driver;
  const { createServer } = await import("vite");
  const vite = await createServer({
    root,
    configFile: false,
    appType: "custom",
    logLevel: "warn",
    server: { middlewareMode: true, hmr: false, watch: null, ws: false },
    optimizeDeps: { noDiscovery: true },
  });
  try {
    const { leaks, soak } = /** @type {typeof import("../tests/support/soak.ts")} */ (
      await vite.ssrLoadModule("/tests/support/soak.ts")
    );
    const { loadEngine } = /** @type {typeof import("../src/engine/load.ts")} */ (
      await vite.ssrLoadModule("/src/engine/load.ts")
    );
    const found = [];

    const begun = performance.now();
    // A pool in which the company of twelve has no room, so that some are preempted.
    const engine = await loadEngine(model, {}, { pageSize: 32, poolTokens: 512, slots: 10 });
    const measured = Math.min(40, requests);
    const onRequest = (/** @type {number} */ n) => {
      if (n % 50 === 0) console.error(`${n} of ${requests} requests`);
    };
    const report = await soak(engine, { requests, seed, company: 12, measured, heapBytes, onRequest });
    found.push(...leaks(report, requests));
    await engine.dispose();
    if (engine.stats().gpuBytes.total !== 0) found.push("GPU bytes are left after dispose");
    const { adapter } = engine.stats();
    console.log(JSON.stringify({ adapter: adapter.description, seconds: seconds(begun), ...report }, null, 2));

    const loading = performance.now();
    for (let i = 0; i < loads; i++) {
      const one = await loadEngine(model);
      await one.generate([1, 2, 3], { maxTokens: 4 }, () => {});
      await one.dispose();
      const { total } = one.stats().gpuBytes;
      if (total !== 0) found.push(`load ${i}: ${total} GPU bytes are left after dispose`);
    }
    console.log(`${loads} loads and disposals, ${seconds(loading)} s`);
    console.log(found.length === 0 ? "Nothing was left behind." : found.join("\n"));
    process.exitCode = found.length === 0 ? 0 : 1;
  } finally {
    await vite.close();
  }
}

/** @param {number} since */
function seconds(since) {
  return Number(((performance.now() - since) / 1000).toFixed(1));
}

main().catch((error) => {
  console.error(`soak: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
  process.exit(1);
});
