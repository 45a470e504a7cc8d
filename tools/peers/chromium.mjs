// node tools/peers/chromium.mjs [FILTER]: Tessera beside onnxruntime-web's WebGPU provider, in one page of a headless Chromium.
// node tools/peers/chromium.mjs decoder [SHAPE]: the same for a whole decoder.
import { createReadStream, existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright";
import { createServer } from "vite";
import { browserFlags, findBrowser } from "../../scripts/lib/browser.mjs";
import { HEAD, line } from "./cases.mjs";
import { HEAD as DECODER_HEAD } from "./decoder-run.mjs";

const root = fileURLToPath(new URL("../..", import.meta.url));
const dist = fileURLToPath(new URL("./node_modules/onnxruntime-web/dist/", import.meta.url));
const filter = process.argv[2] ?? "";

/** onnxruntime's files as they are: they find their wasm by their own address. @type {import("vite").Plugin} */
const onnxruntime = {
  name: "onnxruntime-web",
  configureServer(server) {
    server.middlewares.use("/ort/", (request, response, next) => {
      const name = (request.url ?? "/").split("?")[0].slice(1);
      if (!/^[\w.-]+$/.test(name) || !existsSync(dist + name)) return next();
      response.setHeader("content-type", name.endsWith(".wasm") ? "application/wasm" : "text/javascript");
      createReadStream(dist + name).pipe(response);
    });
    server.middlewares.use("/peers.html", (_request, response) => {
      response.setHeader("content-type", "text/html");
      response.end("<!doctype html><title>peers</title>");
    });
  },
};

async function main() {
  if (!existsSync(dist)) throw new Error("onnxruntime is not installed: npm --prefix tools/peers install");
  const server = await createServer({
    root,
    configFile: false,
    logLevel: "warn",
    plugins: [onnxruntime],
    optimizeDeps: { noDiscovery: true, exclude: ["webgpu"] },
    server: { host: "127.0.0.1", port: 0, hmr: false, watch: null },
  });
  await server.listen();
  const { port } = /** @type {import("node:net").AddressInfo} */ (server.httpServer?.address());
  const executablePath = await findBrowser();
  const browser = await chromium.launch({ args: browserFlags, ...(executablePath && { executablePath }) });
  try {
    const page = await browser.newPage();
    page.on("pageerror", (error) => console.error(error.message));
    await page.goto(`http://127.0.0.1:${port}/peers.html`);
    if (filter === "decoder") return await runDecoders(page, process.argv[3] ?? "smollm2-135m");
    console.log(`onnxruntime-web, WebGPU provider, Chromium ${browser.version()}; ${HEAD}`);
    const run = `import("/tools/peers/page.mjs").then((page) => page.run(INDEX, ${JSON.stringify(filter)}))`;
    for (let i = 0; ; i++) {
      const row = await page
        .evaluate(run.replace("INDEX", String(i)))
        .catch((error) => ({ failed: error.message.split("\n")[0] }));
      if (row === null) break;
      if (row.failed) console.log(`case ${i}: FAILED: ${row.failed}`);
      else if (row.name) console.log(line(row));
    }
  } finally {
    await browser.close();
    await server.close();
  }
}

/** @param {import("playwright").Page} page @param {string} shape */
async function runDecoders(page, shape) {
  console.log(`onnxruntime-web, WebGPU provider; ${DECODER_HEAD}`);
  await page.exposeFunction("say", (/** @type {string} */ text) => console.log(text));
  await page.evaluate(
    `import("/tools/peers/decoder-page.mjs").then((page) => page.runDecoders(${JSON.stringify(shape)}, window.say))`,
  );
}

main().catch((error) => {
  console.error(`peers: ${error instanceof Error ? error.message : error}`);
  process.exitCode = 1;
});
