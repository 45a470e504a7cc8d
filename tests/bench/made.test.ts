/** Checkpoints that the bench makes: what is in them, and that they load as published ones do. */
import { describe, expect, it } from "vitest";
import { bf16ToNumber } from "../../src/base/half.ts";
import type { ByteFile, Repo } from "../../src/base/bytes.ts";
import { endlessRepo, madeRepo } from "../../src/bench/made.ts";
import { findShape, MADE_MODELS } from "../../src/bench/models.ts";
import { readCheckpoint } from "../../src/engine/inspect.ts";
import { openCheckpoint } from "../../src/weights/checkpoint.ts";

const open = async (seed?: number): Promise<ByteFile> =>
  (await madeRepo(findShape("tiny"), seed).open("model.safetensors"))!;

async function valuesOf(name: string, seed?: number): Promise<number[]> {
  const repo = madeRepo(findShape("tiny"), seed);
  const { tensors } = await openCheckpoint((file) => repo.open(file));
  const { begin, end, file } = tensors.get(name)!;
  const bytes = await file.read(begin, end);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Array.from({ length: bytes.length / 2 }, (_, i) => bf16ToNumber(view.getUint16(2 * i, true)));
}

const deviation = (values: readonly number[]): number =>
  Math.sqrt(values.reduce((s, x) => s + x * x, 0) / values.length);

describe("a made checkpoint", () => {
  it.each(MADE_MODELS.map((model) => [model.name, model] as const))("%s reads as a published one", async (_, model) => {
    const { config, endIds, plan } = await readCheckpoint(madeRepo(model), { weights: "q4" });
    expect(config.layers).toBe(model.config["num_hidden_layers"]);
    expect(endIds).toEqual([]);
    // No tensor is there that the model does not use.
    expect(plan.bytes).toBe(plan.checkpoint.bytes);
  });

  it("has SmolLM2-135M's parameters", async () => {
    const { info } = await readCheckpoint(madeRepo(findShape("smollm2-135m")), { weights: "q4" });
    expect(info.parameters).toBe(134_515_008);
  });

  it("is normal with deviation 1/√inFeatures, and gains are 1", async () => {
    const down = await valuesOf("model.layers.1.mlp.down_proj.weight");
    expect(down.length).toBe(128 * 256);
    expect(deviation(down) * 16).toBeCloseTo(1, 1);
    expect(Math.abs(down.reduce((s, x) => s + x, 0) / down.length) * 16).toBeLessThan(0.02);
    // Of a normal distribution 68.3 % lie within one deviation and 95.4 % within two.
    const within = (n: number): number => down.filter((x) => Math.abs(x) * 16 < n).length / down.length;
    expect(Math.abs(within(1) - 0.683)).toBeLessThan(0.02);
    expect(Math.abs(within(2) - 0.954)).toBeLessThan(0.02);
    expect(new Set(await valuesOf("model.norm.weight"))).toEqual(new Set([1]));
  });

  it("has other values in each tensor, row and seed, and the same for the same seed", async () => {
    const [gate, up] = await Promise.all(
      ["gate", "up"].map((name) => valuesOf(`model.layers.0.mlp.${name}_proj.weight`)),
    );
    expect(gate).not.toEqual(up);
    expect(gate!.slice(0, 128)).not.toEqual(gate!.slice(128, 256));
    expect(await valuesOf("model.layers.0.mlp.gate_proj.weight", 2)).not.toEqual(gate);
    expect(await valuesOf("model.layers.0.mlp.gate_proj.weight")).toEqual(gate);
  });

  it("gives the same bytes in whatever ranges they are read", async () => {
    const file = await open();
    const whole = await file.read(0, file.size);
    for (const [begin, end] of [
      [0, 9],
      [7, 1001],
      [100_001, 100_778],
      [file.size - 3, file.size],
      [5000, 5000],
    ] as const) {
      expect(Buffer.compare(await file.read(begin, end), whole.subarray(begin, end))).toBe(0);
    }
    // Across the borders of chunks too.
    const large = (await madeRepo(findShape("smollm2-135m")).open("model.safetensors"))!;
    const chunk = 1 << 20;
    const around = await large.read(chunk - 5, 2 * chunk + 5);
    expect(Buffer.compare(await large.read(2 * chunk - 5, 2 * chunk + 5), around.subarray(-10))).toBe(0);
  });

  it("refuses a name that is none, and tells those that are", () => {
    expect(() => findShape("gpt-7")).toThrow(/no shape "gpt-7".*smollm2-135m, /);
  });
});

describe("a checkpoint without an end", () => {
  const files = (entries: Record<string, string>): Repo => ({
    label: "test",
    open: (name) => {
      const bytes = new TextEncoder().encode(entries[name] ?? "");
      const file = { name, size: bytes.length, read: () => Promise.resolve(bytes), stream: () => undefined as never };
      return Promise.resolve(name in entries ? file : null);
    },
  });
  const textOf = async (repo: Repo, name: string): Promise<string | null> => {
    const file = await repo.open(name);
    return file && new TextDecoder().decode(await file.read(0, file.size));
  };

  it("keeps config and weights, but neither end tokens nor a tokenizer", async () => {
    const repo = endlessRepo(
      files({
        "config.json": '{"model_type":"llama","eos_token_id":[1,2],"bos_token_id":1}',
        "generation_config.json": '{"eos_token_id":2}',
        "tokenizer.json": "{}",
        "model.safetensors.index.json": "index",
        "model-00001-of-00002.safetensors": "shard",
      }),
    );
    expect(JSON.parse((await textOf(repo, "config.json"))!)).toEqual({ model_type: "llama", bos_token_id: 1 });
    expect(await textOf(repo, "generation_config.json")).toBeNull();
    expect(await textOf(repo, "tokenizer.json")).toBeNull();
    expect(await textOf(repo, "model.safetensors.index.json")).toBe("index");
    expect(await textOf(repo, "model-00001-of-00002.safetensors")).toBe("shard");
  });

  it("leaves a broken or missing config for the loader to tell", async () => {
    expect(await textOf(endlessRepo(files({ "config.json": "{oops" })), "config.json")).toBe("{oops");
    expect(await textOf(endlessRepo(files({})), "config.json")).toBeNull();
  });
});
