/** A worker that says it has loaded a model, and answers nothing ever after. */
import type { Reply, Request } from "../../src/worker/protocol.ts";

const scope = self as unknown as DedicatedWorkerGlobalScope;
scope.addEventListener("message", ({ data }: MessageEvent<Request>) => {
  if (data.type !== "load") return;
  const replies = [
    { type: "started", locked: false },
    { type: "result", id: data.id, value: undefined },
  ] satisfies Reply[];
  for (const reply of replies) scope.postMessage(reply);
});
