import { readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";

const repository = dirname(fileURLToPath(import.meta.url));
const demo = join(repository, "demo");
const pages = readdirSync(demo)
  .filter((name) => name.endsWith(".html"))
  .map((name) => join(demo, name));

/** The demo: served from source by `npm start`, built into dist/demo by `npm run build`. */
export default defineConfig({
  root: demo,
  base: "./", // the built pages may lie in any folder of any host
  appType: "mpa", // a missing file is a 404, not index.html: the loader must be able to tell
  server: { fs: { allow: [repository] } },
  optimizeDeps: { include: ["@huggingface/jinja", "@huggingface/tokenizers"], exclude: ["webgpu"] },
  worker: { format: "es" },
  build: {
    target: "es2022",
    outDir: join(repository, "dist/demo"),
    emptyOutDir: true,
    rolldownOptions: { input: pages, external: ["webgpu", /^node:/] },
  },
});
