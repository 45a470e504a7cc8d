import { WorkerError } from "../base/errors.ts";

/** The part of the Trusted Types API that is used; TypeScript's DOM library does not have it. */
interface TrustedTypes {
  createPolicy(name: string, rules: { createScriptURL(url: string): string }): { createScriptURL(url: string): string };
}

let policy: ReturnType<TrustedTypes["createPolicy"]> | undefined;

/** Under `require-trusted-types-for 'script'` a worker's address has to be vouched for; ours is a constant. */
function trusted(url: string): string {
  const { trustedTypes } = globalThis as { trustedTypes?: TrustedTypes };
  if (!trustedTypes) return url;
  try {
    policy ??= trustedTypes.createPolicy("tessera", { createScriptURL: (ours) => ours });
    return policy.createScriptURL(url);
  } catch {
    return url; // the page allows no such policy; its default one may do
  }
}

/** Named as the class it extends, since it is by `new Worker(new URL(…))` that bundlers find a worker's file. */
class Worker extends globalThis.Worker {
  constructor(url: URL, options: WorkerOptions) {
    super(trusted(url.href), options);
  }
}

/**
 * A new worker that runs host.ts, a real file: strict policies forbid blobs.
 * @throws WorkerError if the page may not start it. (What goes wrong later is the worker's `error` event.)
 */
export function startWorker(): globalThis.Worker {
  try {
    return new Worker(new URL("./host.ts", import.meta.url), { type: "module", name: "tessera" });
  } catch (cause) {
    throw new WorkerError(
      `The page may not start the worker: ${(cause as Error).message} Serve the library from the page's own origin, ` +
        "and let the Content-Security-Policy allow it (worker-src 'self', trusted-types tessera); " +
        "or load without worker: true.",
      { cause },
    );
  }
}
