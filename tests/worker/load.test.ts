import { describe, expect, it } from "vitest";
import { ArgumentError, Engine, UnsupportedError } from "../../src/index.ts";

describe("worker: true in Node", () => {
  it("is refused, with what to do", async () => {
    await expect(Engine.load("./no-such-folder", { worker: true })).rejects.toThrow(UnsupportedError);
    await expect(Engine.load("./no-such-folder", { worker: true })).rejects.toThrow(/in Node .* on the thread/);
  });

  it("is refused together with a fetch", async () => {
    const refused = Engine.load("org/name", { worker: true, fetch: async () => new Response() });
    await expect(refused).rejects.toThrow(ArgumentError);
  });
});
