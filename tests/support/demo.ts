import { join } from "node:path";
import { createServer } from "vite";
import { repoRoot } from "./shared.ts";

/** The demo's pages, served from source as `npm start` does. `url` ends in "/". Node only. */
export async function serveDemo(): Promise<{ url: string; close(): Promise<void> }> {
  const server = await createServer({
    configFile: join(repoRoot, "vite.config.ts"),
    logLevel: "warn",
    // No reload of the page under a test, whoever edits a file meanwhile.
    server: { host: "127.0.0.1", port: 0, hmr: false, watch: null },
  });
  await server.listen();
  const address = server.httpServer?.address();
  if (typeof address !== "object" || address === null) throw new Error("the demo's server has no address");
  return { url: `http://127.0.0.1:${address.port}/`, close: () => server.close() };
}
