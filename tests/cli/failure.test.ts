import { describe, expect, it } from "vitest";
import { UsageError } from "../../src/cli/args.ts";
import { failureOf } from "../../src/cli/failure.ts";
import { HELP } from "../../src/cli/help.ts";
import { AbortError, NoAdapterError, SourceError, UnsupportedModelError } from "../../src/index.ts";

describe("how a command ends", () => {
  it.each<[what: string, error: unknown, status: number, message: string]>([
    ["a usage error", new UsageError("no.", "logits"), 2, `tessera: no.\n${HELP.logits.synopsis}`],
    ["no adapter", new NoAdapterError("install this"), 2, "tessera: install this"],
    ["an error with advice", new SourceError("f", "is gone"), 1, "tessera: f: is gone"],
    ["an error of several lines", new SourceError("f", "is\n  gone\n"), 1, "tessera: f: is gone "],
    [
      "an unknown model",
      new UnsupportedModelError("x", ["a"]),
      1,
      'tessera: model_type "x" is not supported. Supported: a.',
    ],
    ["Ctrl-C", new AbortError("Loading"), 130, "tessera: Loading was aborted."],
    ["a reader that is gone", Object.assign(new Error("write EPIPE"), { code: "EPIPE" }), 141, ""],
  ])("%s", (_what, error, status, message) => {
    expect(failureOf(error)).toEqual({ status, message });
  });

  it("shows a fault of ours whole", () => {
    const fault = new TypeError("x is not a function");
    expect(failureOf(fault)).toMatchObject({ status: 70, message: expect.stringContaining(fault.stack!) as string });
    expect(failureOf("thrown")).toMatchObject({ status: 70, message: expect.stringMatching(/thrown$/) as string });
    expect(failureOf(undefined).status).toBe(70);
  });
});
