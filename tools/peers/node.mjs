// node tools/peers/node.mjs [FILTER]: Tessera beside onnxruntime-node's WebGPU provider, in this process, on the same Vulkan driver.
import { createServer } from "vite";
import { findLavapipe } from "../../scripts/lib/vulkan.mjs";
import { allCases, HEAD, interleave, line, nmse } from "./cases.mjs";

// Both load the driver that the first of them names; without a GPU that is Mesa's.
const driver = process.env["VK_DRIVER_FILES"] ?? findLavapipe();
if (driver !== undefined) Object.assign(process.env, { VK_DRIVER_FILES: driver, VK_ICD_FILENAMES: driver });

const root = new URL("../..", import.meta.url).pathname;
const filter = process.argv[2] ?? "";
const vite = await createServer({
  root,
  configFile: false,
  logLevel: "warn",
  appType: "custom",
  server: { middlewareMode: true, hmr: false, watch: null },
});

async function main() {
  const { default: ort } = await import("onnxruntime-node").catch(() => {
    throw new Error("onnxruntime is not installed: npm --prefix tools/peers install");
  });
  const { ours } = await vite.ssrLoadModule("/tools/peers/ours.ts");
  console.log(`onnxruntime-node ${ort.env.versions.node ?? ort.env.versions.common}, WebGPU provider; ${HEAD}`);
  for (const one of allCases()) {
    if (!one.name.includes(filter)) continue;
    await compare(ort, ours, one).catch((error) =>
      console.log(`${one.name.padEnd(52)}  FAILED: ${error.message.split("\n")[0]}`),
    );
  }
}

/** One case: both results against float64, then both in turn. */
async function compare(ort, ours, one) {
  const mine = await ours(one);
  const session = await ort.InferenceSession.create(one.model, { executionProviders: ["webgpu"], logSeverityLevel: 3 });
  const feeds = Object.fromEntries(
    Object.entries(one.feeds).map(([name, { type, data, dims }]) => [name, new ort.Tensor(type, data, dims)]),
  );
  const expected = one.reference();
  const oursError = nmse(await mine.run(true), expected);
  const theirsError = nmse((await session.run(feeds, ["y"])).y.data, expected);
  const times = await interleave(
    () => mine.run(true),
    () => session.run(feeds, ["y"]),
    one.shape.rows > 1 ? 6 : 15,
  );
  console.log(line({ name: one.name, ...times, oursError, theirsError }));
  mine.close();
  await session.release();
}

await main().catch((error) => {
  console.error(`peers: ${error instanceof Error ? error.message : error}`);
  process.exitCode = 1;
});
process.exit(); // two GPU stacks keep threads
