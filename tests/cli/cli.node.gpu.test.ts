/** The command line as its users run it: as a process of its own. */
import { spawn, spawnSync } from "node:child_process";
import { copyFile, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Measured } from "../../src/cli/perplexity.ts";
import { Engine, type GenerationResult } from "../../src/index.ts";
import { parseHeader } from "../../src/weights/safetensors.ts";
import { fixtureSource, readFixtureJson } from "../support/fixtures.ts";
import { repoRoot } from "../support/shared.ts";

const MODEL = "demo/public/model";
const EXACT = ["--model", MODEL, "--kv", "f32"]; // f32 pages: what is compared is arithmetic, not rounding

interface Golden {
  cases: { prompt: string; ids: number[]; greedy: number[]; text: string }[];
  score: { text: string; ids: number[]; logprobs: number[] };
}

interface Ended {
  status: number | null;
  stdout: string;
  /** Without what Dawn itself prints. */
  stderr: string;
}

/** Runs to the end. `onOutput` sees the process at its first output. */
function tessera(args: string[], env: NodeJS.ProcessEnv = {}, onOutput?: (pid: number) => void): Promise<Ended> {
  const child = spawn(process.execPath, [join(repoRoot, "dist/cli.js"), ...args], {
    cwd: repoRoot,
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    if (stdout === "") onOutput?.(child.pid!);
    stdout += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (status) => resolve({ status, stdout, stderr: ours(stderr) }));
  });
}

/** From our first line on: Dawn's come before. */
function ours(stderr: string): string {
  const lines = stderr.split("\n").filter((line) => !/^Warning: |^ +at |^$|^built cli/.test(line));
  return lines.join("\n");
}

let folder: string;
let golden: Golden;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tessera-cli-"));
  golden = await readFixtureJson<Golden>("tests/fixtures/embedded/golden.json");
  // Builds what is old. Once: a source that is being edited meanwhile is no business of these tests.
  const built = spawnSync(process.execPath, [join(repoRoot, "scripts/tessera.mjs"), "--version"], { encoding: "utf8" });
  if (built.status !== 0) throw new Error(`the command line could not be built:\n${built.stderr}`);
  expect(built.stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Up to the end token, which the golden runs past. */
const untilEnd = (ids: number[]): number[] => (ids.includes(0) ? ids.slice(0, ids.indexOf(0)) : ids);

describe("generate", () => {
  it("prints one JSON object, with the golden ids", async () => {
    const { prompt, ids, greedy } = golden.cases[1]!;
    const args = ["generate", ...EXACT, "--prompt", prompt, "--max-tokens", "64", "--temperature", "0", "--json"];
    const { status, stdout, stderr } = await tessera(args);
    expect(stderr).toBe("");
    expect(status).toBe(0);
    const result = JSON.parse(stdout) as GenerationResult;
    expect(result.ids).toEqual(untilEnd(greedy));
    expect(result).toMatchObject({
      finishReason: greedy.includes(0) ? "stop" : "length",
      usage: { promptTokens: ids.length, completionTokens: untilEnd(greedy).length },
      adapter: { vendor: expect.any(String) as string, description: expect.any(String) as string },
    });
    expect(Object.keys(result)).toEqual(["ids", "text", "finishReason", "usage", "timing", "adapter"]);
    const times = ["loadMs", "firstTokenMs", "decodeMs", "totalMs", "tokensPerSecond"];
    expect(Object.keys(result.timing)).toEqual(times);
    for (const time of Object.values(result.timing)) expect(time).toBeGreaterThan(0);
  });

  it("streams text, from messages through the chat template", async () => {
    const { prompt, greedy, text } = golden.cases[1]!;
    for (const name of await readdir(fixtureSource(MODEL))) {
      await copyFile(join(fixtureSource(MODEL), name), join(folder, name));
    }
    const template = "{{ bos_token }}{% for m in messages %}{{ m['content'] }}{% endfor %}";
    await writeFile(join(folder, "chat_template.jinja"), template);
    await writeFile(join(folder, "chat.json"), JSON.stringify({ messages: [{ role: "user", content: prompt }] }));
    const args = ["--model", folder, "--kv", "f32", "--messages", join(folder, "chat.json"), "--temperature", "0"];
    const { status, stdout, stderr } = await tessera(["generate", ...args, "--max-tokens", "64"]);
    expect(stdout).toBe(`${text.split("<|endoftext|>")[0]}\n`);
    const tokens = untilEnd(greedy).length;
    expect(stderr).toMatch(
      new RegExp(`^\\d+ \\+ ${tokens} tokens \\((length|stop)\\), first after \\d+ ms, [\\d.]+ tokens/s, [^\\n]+$`),
    );
    expect(status).toBe(0);
  });

  it("prints ids where there is no tokenizer, and each of several choices", async () => {
    const args = ["--model", "tests/fixtures/llama/untied-f32", "--ids", "1,2,3", "--max-tokens", "4", "--seed", "1"];
    const { status, stdout } = await tessera(["generate", ...args, "--n", "2"]);
    expect(status).toBe(0);
    const ids = "\\d+( \\d+){0,3}";
    expect(stdout).toMatch(new RegExp(`^\\[1/2\\]\n${ids}\n\n\\[2/2\\]\n${ids}\n$`));
  });

  it("ends at Ctrl-C with what there is", async () => {
    const args = ["generate", ...EXACT, "--prompt", golden.cases[1]!.prompt, "--temperature", "0"];
    const { status, stdout, stderr } = await tessera(args, {}, (pid) => process.kill(pid, "SIGINT"));
    expect(stderr).toMatch(/tokens \(abort\), first after/);
    expect(stdout).toMatch(/^.+\n$/s);
    expect(status).toBe(130);
  });
});

describe("logits", () => {
  it("writes the logits of every id", async () => {
    const { ids } = golden.cases[1]!;
    const out = join(folder, "logits.safetensors");
    const { status, stdout } = await tessera(["logits", ...EXACT, "--ids", ids.join(","), "--out", out]);
    expect(status).toBe(0);
    const engine = await Engine.load(fixtureSource(MODEL), { kv: "f32" });
    const expected = await engine.logits(ids, { rows: "all" });
    const shape = [ids.length, engine.model.vocabSize];
    await engine.dispose();
    expect(stdout).toBe(`logits [${shape.join(", ")}] F32 in ${out}\n`);
    const file = await readFile(out);
    const header = file.subarray(8, 8 + Number(file.readBigUInt64LE(0)));
    const tensor = parseHeader(out, header, file.length).get("logits")!;
    expect(tensor).toMatchObject({ dtype: "F32", shape });
    const values = new Float32Array(new Uint8Array(file.subarray(tensor.begin, tensor.end)).buffer);
    expect(values.length).toBe(expected.length);
    const worst = values.reduce((error, value, i) => Math.max(error, Math.abs(value - expected[i]!)), 0);
    expect(worst).toBeLessThan(1e-5);
    expect((await readdir(folder)).filter((name) => name.endsWith(".part"))).toEqual([]);
  });
});

describe("perplexity", () => {
  it("is the golden's, document by document", async () => {
    const { text, logprobs } = golden.score;
    const nats = -logprobs.reduce((sum, x) => sum + x, 0);
    const bytes = Buffer.byteLength(text);
    const file = join(folder, "text.txt");
    await writeFile(file, `${text}\n<|endoftext|>\n${text}\n`);
    const { status, stdout } = await tessera(["perplexity", ...EXACT, "--text", file, "--json"]);
    expect(status).toBe(0);
    const measured = JSON.parse(stdout) as Measured;
    expect(measured).toMatchObject({ tokens: 2 * logprobs.length, bytes: 2 * bytes, documents: 2, windows: 2 });
    expect(Math.abs(measured.natsPerToken - nats / logprobs.length)).toBeLessThan(1e-3);
    expect(Math.abs(measured.bitsPerByte - nats / Math.LN2 / bytes)).toBeLessThan(1e-3);
    expect(measured.perplexity).toBeCloseTo(Math.exp(measured.natsPerToken), 6);
  });
});

describe("exit status and stderr", () => {
  const hidden = { VK_DRIVER_FILES: "/nonexistent", VK_ICD_FILENAMES: "/nonexistent" };
  it.skipIf(process.platform !== "linux")("2 without an adapter, with one line that says what to install", async () => {
    const { status, stdout, stderr } = await tessera(["generate", "--model", MODEL, "--ids", "1", "--json"], hidden);
    expect(stderr).toMatch(/^tessera: No WebGPU adapter: install [^\n]+$/);
    expect({ status, stdout }).toEqual({ status: 2, stdout: "" });
  });

  it("inspect needs none", async () => {
    const { status, stdout, stderr } = await tessera(["inspect", "--model", MODEL, "--json", "--tensors"], hidden);
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(JSON.parse(stdout)).toMatchObject({ modelType: "llama", tokenizer: true });
  });

  it.each<[what: string, args: string[], status: number, stderr: RegExp]>([
    [
      "an unknown flag",
      ["generate", "--frobnicate"],
      2,
      /^tessera: Unknown option '--frobnicate'\.\nUsage:\ntessera generate /,
    ],
    [
      "a missing model",
      ["inspect", "--model", "./no/such"],
      1,
      /^tessera: \.\/no\/such: there is no such folder\.[^\n]*$/,
    ],
    [
      "a missing text",
      ["perplexity", "--model", MODEL, "--text", "no.txt"],
      1,
      /^tessera: --text no\.txt: it cannot[^\n]*$/,
    ],
    [
      "no folder",
      ["logits", "--model", MODEL, "--ids", "1", "--out", "no/x"],
      1,
      /^tessera: --out no\/x: there is no[^\n]*$/,
    ],
  ])("%s", async (_what, args, status, stderr) => {
    const ended = await tessera(args);
    expect(ended.stderr).toMatch(stderr);
    expect(ended).toMatchObject({ status, stdout: "" });
  });

  it("an unknown model_type", async () => {
    const other = await mkdtemp(join(folder, "other-"));
    await writeFile(join(other, "config.json"), '{"model_type": "nonesuch"}');
    const { status, stderr } = await tessera(["generate", "--model", other, "--prompt", "a"]);
    expect(stderr).toMatch(/^tessera: model_type "nonesuch" is not supported\. Supported: [^\n]+$/);
    expect(status).toBe(1);
  });
});
