import { describe, expect, it } from "vitest";
import { AbortError, ArgumentError } from "../../src/base/errors.ts";
import { openRepo } from "../../src/store/repo.ts";

/** The addresses that are asked for, without asking. */
async function addressOf(source: string, options: { endpoint?: string; revision?: string } = {}): Promise<string> {
  let address = "";
  const spy: typeof fetch = async (input) => {
    address = input as string;
    return new Response(null, { status: 404 });
  };
  expect(await (await openRepo(source, { ...options, fetch: spy })).open("config.json")).toBeNull();
  return address;
}

describe("openRepo", () => {
  it.each([
    ["org/name", {}, "https://huggingface.co/org/name/resolve/main/config.json"],
    ["Qwen/Qwen2.5-0.5B_x", {}, "https://huggingface.co/Qwen/Qwen2.5-0.5B_x/resolve/main/config.json"],
    ["o/n", { revision: "v1.0" }, "https://huggingface.co/o/n/resolve/v1.0/config.json"],
    ["o/n", { revision: "refs/pr/3" }, "https://huggingface.co/o/n/resolve/refs%2Fpr%2F3/config.json"],
    ["o/n", { endpoint: "https://hub.example/mirror/" }, "https://hub.example/mirror/o/n/resolve/main/config.json"],
    ["https://host.example/models/x", {}, "https://host.example/models/x/config.json"],
    ["http://host.example:8080", {}, "http://host.example:8080/config.json"],
    ["HTTPS://host.example/x/?t=1#z", {}, "https://host.example/x/config.json?t=1"],
  ])("%s %o", async (source, options, address) => {
    expect(await addressOf(source, options)).toBe(address);
  });

  it.each([
    "",
    "name",
    "a/b/c",
    "org/",
    "org/na me",
    "org/-name",
    "org/name.",
    "org/na--me",
    "org/na..me",
    "org/näme",
    "org/name?x",
    `org/${"n".repeat(97)}`,
    "C:\\models\\x",
    "ftp://host/x",
    "blob:https://host/x",
    "data:,x",
    "https://",
    "https://user:secret@host.example/x",
  ])("refuses %j", async (source) => {
    await expect(openRepo(source)).rejects.toThrow(ArgumentError);
  });

  it("says which forms there are", async () => {
    await expect(openRepo("llama")).rejects.toThrow(/"llama" names no model.*"org\/name".*URL.*begins with "\."/);
  });

  it.each(["hub.example", "ftp://hub.example", "", "https://"])("refuses the endpoint %j", async (endpoint) => {
    await expect(openRepo("o/n", { endpoint })).rejects.toThrow(/endpoint/);
  });

  it.each(["", "..", "a/../../b", "/main", "a b", "a?b"])("refuses the revision %j", async (revision) => {
    await expect(openRepo("o/n", { revision })).rejects.toThrow(/revision/);
  });

  it.each([undefined, null, 5, {}, new Map()])("refuses %o", async (source) => {
    await expect(openRepo(source as never)).rejects.toThrow(ArgumentError);
  });

  it("is aborted before it begins", async () => {
    await expect(openRepo("o/n", { signal: AbortSignal.abort() })).rejects.toBeInstanceOf(AbortError);
  });
});
