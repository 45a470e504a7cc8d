import { describe, expect, it } from "vitest";
import { readArgs, UsageError } from "../../src/cli/args.ts";
import { COMMANDS, HELP, OVERVIEW } from "../../src/cli/help.ts";

/** A line as a shell would split it at spaces. */
const read = (line: string) => readArgs(line.split(" "));

describe("the command line", () => {
  it("takes a prompt and every knob of a generation", () => {
    const line =
      "generate --model ./m --prompt hello --max-tokens 7 --temperature 0.5 --seed 4294967295 --stop a --stop b --n 2 " +
      "--weights f16 --kv f32 --context 128 --memory 1000000 --revision v1 --endpoint https://hub.test --json";
    expect(read(line)).toEqual({
      command: "generate",
      model: "./m",
      load: {
        weights: "f16",
        kv: "f32",
        contextTokens: 128,
        memoryBytes: 1_000_000,
        revision: "v1",
        endpoint: "https://hub.test",
      },
      input: { prompt: "hello" },
      sampling: { maxTokens: 7, temperature: 0.5, seed: 2 ** 32 - 1, stop: ["a", "b"], n: 2 },
      json: true,
    });
  });

  it("leaves out what was not given, so that the library's defaults hold", () => {
    const invocation = read("generate --model m --ids 1");
    expect(invocation).toEqual({
      command: "generate",
      model: "m",
      load: {},
      input: { ids: [1] },
      sampling: {},
      json: false,
    });
    expect(Object.keys((invocation as { load: object }).load)).toEqual([]);
  });

  it("takes an empty prompt, and one that begins with a dash", () => {
    expect(readArgs(["generate", "--model", "m", "--prompt", ""])).toMatchObject({ input: { prompt: "" } });
    expect(readArgs(["generate", "--model", "m", "--prompt=-x"])).toMatchObject({ input: { prompt: "-x" } });
  });

  it.each([
    ["1,2,3", [1, 2, 3]],
    [" 1, 2 ,3 ", [1, 2, 3]],
    ["0 10\n200", [0, 10, 200]],
  ])("takes the ids %j", (ids, expected) => {
    expect(readArgs(["logits", "--model", "m", "--out", "o", "--ids", ids])).toMatchObject({ ids: expected, out: "o" });
  });

  it("takes the other commands", () => {
    expect(read("generate --model m --messages chat.json")).toMatchObject({ input: { messagesFile: "chat.json" } });
    expect(read("perplexity --model m --text t.txt --json")).toMatchObject({ textFile: "t.txt", json: true });
    expect(read("inspect --model m --tensors")).toMatchObject({ command: "inspect", tensors: true, json: false });
    expect(read("--version")).toEqual({ command: "version" });
  });

  it.each([["--help"], ["-h"], ["help"], ["help nonsense"]])("%s tells all commands", (line) => {
    expect(read(line)).toEqual({ command: "help", text: OVERVIEW });
  });

  it.each(COMMANDS)("%s --help tells its flags, whatever else is there or missing", (command) => {
    const flag = command === "bench" ? "--filter x" : "--weights x";
    for (const line of [`${command} --help`, `${command} -h`, `help ${command}`, `${command} ${flag} --help`]) {
      expect(read(line)).toEqual({ command: "help", text: HELP[command].text });
    }
  });
});

describe("a wrong command line", () => {
  const model = "--model m";
  it.each([
    ["generate", "--model is missing"],
    [`generate ${model}`, "one of --prompt, --ids and --messages"],
    [`generate ${model} --prompt a --ids 1`, "--prompt and --ids exclude each other"],
    [`generate ${model} --prompt a --messages f`, "--prompt and --messages exclude each other"],
    [`generate ${model} --prompt a --frobnicate`, "Unknown option '--frobnicate'."],
    [`generate ${model} --prompt a stray`, "Unexpected argument 'stray'"],
    [`generate ${model} --prompt --json`, "--prompt=-XYZ"],
    [`generate ${model} --prompt a --json=yes`, "--json"],
    [`generate ${model} --prompt a --out f`, "Unknown option '--out'."],
    [`generate ${model} --prompt a --max-tokens 0`, '--max-tokens is an integer from 1 up; "0" is none'],
    [`generate ${model} --prompt a --max-tokens 1.5`, "--max-tokens is an integer"],
    [`generate ${model} --prompt a --temperature=-1`, "--temperature is a number from 0 up"],
    [`generate ${model} --prompt a --temperature warm`, "--temperature is a number"],
    [`generate ${model} --prompt a --temperature=`, "--temperature is a number"],
    [`generate ${model} --prompt a --temperature 1e999`, "--temperature is a number"],
    [`generate ${model} --prompt a --seed 4294967296`, "--seed is an integer from 0 to 4294967295"],
    [`generate ${model} --prompt a --weights q9`, "--weights is one of published, auto"],
    [`generate ${model} --prompt a --kv f64`, "--kv is one of f32, f16, int8"],
    [`generate ${model} --prompt a --context 1`, "--context is an integer from 2 up"],
    [`generate ${model} --prompt a --memory 2GB`, "--memory is an integer"],
    [`generate ${model} --ids 1,,2`, '--ids takes token ids such as 1,2,3; "" is none'],
    [`generate ${model} --ids 1,-2`, '"-2" is none'],
    [`generate ${model} --ids 1.0`, '"1.0" is none'],
    [`logits ${model} --ids 1`, "--out is missing"],
    [`logits ${model} --out f`, "--ids is missing"],
    [`perplexity ${model}`, "--text is missing"],
    [`inspect ${model} --text 5`, "Unknown option '--text'."],
  ])("%s", (line, message) => {
    const [command] = line.split(" ") as [(typeof COMMANDS)[number]];
    const error = refusal(line.split(" "));
    expect(error.message).toContain(message);
    expect(error.message).not.toContain("\n");
    expect(error.usage).toBe(HELP[command].synopsis);
  });

  it.each([
    [[], "no command was given"],
    [["frobnicate"], 'there is no command "frobnicate". Commands: generate, logits, perplexity, inspect, bench.'],
    [["--model", "m", "generate"], "the command comes first, before --model"],
  ])("%j shows all commands", (argv, message) => {
    const error = refusal(argv);
    expect(error.message).toContain(message);
    expect(error.usage).toBe(OVERVIEW);
  });

  function refusal(argv: string[]): UsageError {
    try {
      readArgs(argv);
    } catch (error) {
      if (error instanceof UsageError) return error;
      throw error;
    }
    throw new Error(`${argv.join(" ")} was taken`);
  }
});
