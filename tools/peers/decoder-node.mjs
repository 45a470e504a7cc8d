// node tools/peers/decoder-node.mjs [SHAPE] [ROUNDS]: a whole decoder in Tessera's engine beside the same one in onnxruntime-node's
// WebGPU provider, in this process, on the same Vulkan driver. Its caches go through the host: that package has no tensors on the GPU.
import { createServer } from "vite";
import { findLavapipe } from "../../scripts/lib/vulkan.mjs";
import { compareDecoders, HEAD, Theirs } from "./decoder-run.mjs";

const driver = process.env["VK_DRIVER_FILES"] ?? findLavapipe();
if (driver !== undefined) Object.assign(process.env, { VK_DRIVER_FILES: driver, VK_ICD_FILENAMES: driver });

const [shape = "smollm2-135m", rounds = "5"] = process.argv.slice(2);
const vite = await createServer({
  root: new URL("../..", import.meta.url).pathname,
  configFile: false,
  logLevel: "warn",
  appType: "custom",
  server: { middlewareMode: true, hmr: false, ws: false, watch: null },
});

async function main() {
  const { default: ort } = await import("onnxruntime-node").catch(() => {
    throw new Error("onnxruntime is not installed: npm --prefix tools/peers install");
  });
  const { onnxDecoder, openOurs, shapeOf, tools } = await vite.ssrLoadModule("/tools/peers/decoder.ts");
  const options = { shape, contextTokens: 640 };
  const engine = await openOurs(options);
  const model = await onnxDecoder(options);
  const theirs = await Theirs.open(ort, model, shapeOf(shape), { executionProviders: ["webgpu"] });
  const judge = await Theirs.open(ort, model, shapeOf(shape), { executionProviders: ["cpu"] });
  const version = ort.env.versions.node ?? ort.env.versions.common;
  console.log(
    `${shape}, 4-bit weights, 8-bit head, f32 caches; ${engine.gpu.info.description}; onnxruntime-node ${version}`,
  );
  console.log(HEAD);
  const sides = { engine, theirs, judge, tools: tools(engine) };
  await compareDecoders(sides, { pasts: [64, 512], rounds: Number(rounds), tokens: 8 }, console.log);
  await engine.dispose();
}

await main().catch((error) => {
  console.error(`peers: ${error instanceof Error ? error.message : error}`);
  process.exitCode = 1;
});
process.exit(); // two GPU stacks keep threads
