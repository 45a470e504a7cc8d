import { describe, expect, it } from "vitest";
import { readArgs, UsageError } from "../../src/cli/args.ts";
import { HELP } from "../../src/cli/help.ts";

const read = (line: string) => readArgs(line.split(" "));

describe("tessera bench", () => {
  it("takes kernels and its flags", () => {
    expect(read("bench kernels")).toEqual({ command: "bench", filter: undefined, effort: "default", json: false });
    expect(readArgs(["bench", "kernels", "--filter", "linear q4", "--quick", "--json"])).toEqual({
      command: "bench",
      filter: "linear q4",
      effort: "quick",
      json: true,
    });
    expect(read("bench kernels --full")).toMatchObject({ effort: "full" });
  });

  it.each([
    ["bench", "bench measures kernels; say so"],
    ["bench --json", "bench measures kernels; say so"],
    ["bench flops", 'bench measures kernels; not "flops"'],
    ["bench decode --json", "bench decode is not there yet"],
    ["bench prefill", "bench prefill is not there yet"],
    ["bench kernels --quick --full", "--quick and --full exclude each other"],
    ["bench kernels --model m", "Unknown option '--model'"],
    ["bench kernels more", "Unexpected argument 'more'"],
  ])("refuses %s", (line, message) => {
    try {
      read(line);
      expect.unreachable();
    } catch (error) {
      expect(error).toBeInstanceOf(UsageError);
      expect((error as UsageError).message).toContain(message);
      expect((error as UsageError).usage).toBe(HELP.bench.synopsis);
    }
  });
});
