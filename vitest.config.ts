import { readdirSync } from "node:fs";
import { playwright } from "@vitest/browser-playwright";
import { defineConfig, type TestProjectConfiguration } from "vitest/config";
import { browserFlags, findBrowser } from "./scripts/lib/browser.mjs";
import { findLavapipe, findSwiftshader } from "./scripts/lib/vulkan.mjs";
import { seededFault } from "./tests/faults/plugin.mjs";
import { serveFolder } from "./tests/support/serve.plugin.ts";
import { repoRoot, sharedRoot } from "./tests/support/shared.ts";

const anywhere = "tests/**/*.test.ts";
const gpu = "tests/**/*.gpu.test.ts";
const kernels = "tests/kernels/**/*.gpu.test.ts";
// Chromium runs on SwiftShader too, so its lane in Node has whole models alone, unless it is asked for more.
const models = ["tests/engine/{families,quantised}*.gpu.test.ts", "tests/support/*.gpu.test.ts"];
// Kernels without a variant for f16 or subgroups: the plain lane would run the same shaders on the same driver again.
const alike = [
  "tests/kernels/{rope-write,copy-page,repack,transpose,fill,embed,embed-position,head-linear}.gpu.test.ts",
  "tests/kernels/{advance,batch,graph,moe-route,moe-sort,score}.gpu.test.ts",
];
const wantsAll = Boolean(process.env["TESSERA_FAULT"] || process.env["TESSERA_WHOLE_LANES"]);
const nodeGpu = "tests/**/*.node.gpu.test.ts"; // Dawn in Node only
const browserOnly = "tests/**/*.browser.test.ts"; // the page's own means (OPFS, File, workers)
const e2e = "tests/e2e/**";

const browser = await findBrowser();
const lavapipe = findLavapipe();
const swiftshader = findSwiftshader(browser);
const shared = sharedRoot();
const sharedEntries =
  shared === null
    ? []
    : readdirSync(shared, { recursive: true, encoding: "utf8" }).map((entry) => entry.replaceAll("\\", "/"));
const inNode = { repository: repoRoot, shared, sharedEntries };

/**
 * Kernels and engine in Node on Dawn, on the Vulkan driver whose manifest is given, else on the system's own choice. A
 * plain lane has the kernels alone, on a device without optional features.
 */
function dawnLane(name: string, driver?: string, include = [gpu], plain = false): TestProjectConfiguration {
  return {
    plugins: seededFault(),
    test: {
      name,
      include,
      exclude: [e2e, ...(plain && !wantsAll ? alike : [])],
      environment: "node",
      pool: "forks", // a fresh process a file: a driver that crashes takes one file with it
      fileParallelism: false,
      env: driver === undefined ? {} : { VK_DRIVER_FILES: driver },
      provide: { ...inNode, lane: name, plain },
      testTimeout: 120_000,
      hookTimeout: 120_000,
    },
  };
}

const chromium: TestProjectConfiguration = {
  plugins: [serveFolder("/@fixtures", repoRoot), ...(shared === null ? [] : [serveFolder("/@shared", shared)])],
  // Known beforehand, so that Vite does not find them mid-run and reload the page under a test.
  optimizeDeps: { include: ["@huggingface/jinja", "@huggingface/tokenizers"], exclude: ["webgpu"] },
  test: {
    name: "chromium",
    include: [gpu, browserOnly],
    exclude: [nodeGpu, e2e],
    fileParallelism: false,
    provide: {
      repository: "/@fixtures",
      shared: shared === null ? null : "/@shared",
      sharedEntries,
      lane: "chromium",
      plain: false,
    },
    testTimeout: 120_000,
    hookTimeout: 120_000,
    browser: {
      enabled: true,
      headless: true,
      api: { host: "127.0.0.1" }, // some systems have no "localhost", or have two
      screenshotFailures: false,
      provider: playwright({
        launchOptions: { args: browserFlags, ...(browser === undefined ? {} : { executablePath: browser }) },
      }),
      instances: [{ browser: "chromium" }],
    },
  },
};

export default defineConfig({
  test: {
    projects: [
      {
        plugins: seededFault(),
        test: {
          name: "pure",
          include: [anywhere],
          exclude: [gpu, browserOnly, e2e],
          environment: "node",
          provide: { ...inNode, lane: "pure", plain: false },
        },
      },
      chromium,
      ...(lavapipe === undefined
        ? []
        : [dawnLane("dawn-lavapipe", lavapipe), dawnLane("dawn-plain", lavapipe, [kernels], true)]),
      ...(swiftshader === undefined ? [] : [dawnLane("dawn-swiftshader", swiftshader, wantsAll ? [gpu] : models)]),
      dawnLane("dawn-default"),
      {
        test: {
          name: "e2e",
          include: ["tests/e2e/**/*.test.ts"],
          environment: "node",
          fileParallelism: false,
          provide: { ...inNode, lane: "e2e", plain: false },
          testTimeout: 120_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
});
