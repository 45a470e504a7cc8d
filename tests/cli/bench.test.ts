import { describe, expect, it } from "vitest";
import { readArgs, UsageError } from "../../src/cli/args.ts";
import { MADE_MODELS } from "../../src/bench/models.ts";
import { HELP } from "../../src/cli/help.ts";

const read = (line: string) => readArgs(line.split(" "));

describe("tessera bench", () => {
  it("takes kernels and its flags", () => {
    const plain = { command: "bench", subject: "kernels", filter: undefined, effort: "default", json: false };
    expect(read("bench kernels")).toEqual(plain);
    expect(readArgs(["bench", "kernels", "--filter", "linear q4", "--quick", "--json"])).toEqual({
      command: "bench",
      subject: "kernels",
      filter: "linear q4",
      effort: "quick",
      json: true,
    });
    expect(read("bench kernels --full")).toMatchObject({ effort: "full" });
  });

  it("takes decode and prefill and their flags", () => {
    expect(read("bench decode")).toEqual({ command: "bench", subject: "decode", load: {}, json: false });
    expect(read("bench decode --shape tiny --context 64,512 --sequences 1,2 --tokens 12 --rounds 4 --json")).toEqual({
      command: "bench",
      subject: "decode",
      shape: "tiny",
      load: {},
      contexts: [64, 512],
      sequences: [1, 2],
      tokens: 12,
      rounds: 4,
      json: true,
    });
    expect(read("bench prefill --model m --weights q8 --kv int8 --prompt 64")).toEqual({
      command: "bench",
      subject: "prefill",
      model: "m",
      load: { weights: "q8", kv: "int8" },
      prompts: [64],
      json: false,
    });
  });

  it.each(["bench --help", "bench kernels --help", "bench decode -h", "bench prefill --help"])(
    "%s explains",
    (line) => {
      const { text } = read(line) as { text: string };
      expect(text).toBe(HELP.bench.text);
      for (const shape of MADE_MODELS) expect(text).toContain(shape.name);
    },
  );

  it.each([
    ["bench", "bench measures kernels, decode or prefill; say which"],
    ["bench --json", "bench measures kernels, decode or prefill; say which"],
    ["bench flops", 'bench measures kernels, decode or prefill; not "flops"'],
    ["bench decode --shape tiny --model m", "--model and --shape exclude each other"],
    ["bench decode --context 64,x", '--context takes integers from 1 up such as 64,512; "x" is none'],
    ["bench decode --sequences 0", '--sequences takes integers from 1 up such as 64,512; "0" is none'],
    ["bench decode --prompt 64", "Unknown option '--prompt'"],
    ["bench prefill --context 64", "Unknown option '--context'"],
    ["bench prefill --rounds 0", "--rounds is an integer from 1 up"],
    ["bench decode --quick", "Unknown option '--quick'"],
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
