// npm start [-- --port N] [--host [ADDRESS]]: installs what is missing, then serves the demo and prints its address.
import { connect } from "node:net";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { installPackages, root } from "./lib/packages.mjs";

const firstPort = 5173;

/** @param {number} port @param {string} host @returns {Promise<boolean>} whether somebody answers there */
function answers(port, host) {
  return new Promise((done) => {
    const socket = connect({ port, host });
    const end = (/** @type {boolean} */ yes) => {
      socket.destroy();
      done(yes);
    };
    socket.once("connect", () => end(true)).once("error", () => end(false));
  });
}

/** "localhost" is two addresses; a port that is free on one of them only would show another program's page. */
async function freePort() {
  for (let port = firstPort; port < firstPort + 100; port++) {
    if (!(await answers(port, "127.0.0.1")) && !(await answers(port, "::1"))) return port;
  }
  throw new Error(`no free port from ${firstPort} to ${firstPort + 99}. Choose one: npm start -- --port N`);
}

/** @returns {{ port: number | undefined, host: string | undefined }} */
function readArguments() {
  const argv = process.argv.slice(2).flatMap((arg, i, all) => {
    const bare = arg === "--host" && (all[i + 1] === undefined || all[i + 1]?.startsWith("-"));
    return bare ? ["--host", "0.0.0.0"] : [arg];
  });
  const { values } = parseArgs({ args: argv, options: { port: { type: "string" }, host: { type: "string" } } });
  const text = values.port ?? process.env["PORT"];
  if (text === undefined || text === "") return { port: undefined, host: values.host };
  const port = Number(text);
  if (!Number.isInteger(port) || port < 0 || port > 65535) {
    throw new Error(`the port ${JSON.stringify(text)} is not a number from 0 to 65535.`);
  }
  return { port, host: values.host };
}

async function main() {
  const wanted = readArguments();
  installPackages();
  const { createServer } = await import("vite");
  const server = await createServer({
    configFile: join(root, "vite.config.ts"),
    clearScreen: false,
    logLevel: "warn",
    // 127.0.0.1 and not "localhost": some systems would then answer on ::1 alone.
    server: { port: wanted.port ?? (await freePort()), strictPort: true, host: wanted.host ?? "127.0.0.1" },
  });
  await server.listen();
  const address = server.httpServer?.address();
  const port = typeof address === "object" && address !== null ? address.port : server.config.server.port;
  console.log(`Tessera demo: http://localhost:${port}/`);
  for (const url of server.resolvedUrls?.network ?? []) {
    if (wanted.host !== undefined) console.log(`  also ${url} (browsers give WebGPU to other hosts over https only)`);
  }
  process.once("SIGINT", () => void server.close().finally(() => process.exit(0))); // Vite itself sees to SIGTERM
}

main().catch((error) => {
  const message = error instanceof Error ? error.message : String(error);
  const hint = /in use/.test(message) ? ". Choose another: npm start -- --port N" : "";
  console.error(`npm start: ${message}${hint}`);
  process.exit(1);
});
