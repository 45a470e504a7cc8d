/** Which format `weights: "auto"` takes, and what it says of it. */
import { describe, expect, it } from "vitest";
import { chooseWeights, neededBytes, type Room, type Sizing } from "../../src/engine/auto-weights.ts";
import { inspectCheckpoint, readCheckpoint, type ReadCheckpoint } from "../../src/engine/inspect.ts";
import type { CheckpointOptions } from "../../src/engine/options.ts";
import type { WeightPlan } from "../../src/engine/weight-plan.ts";
import { OutOfMemoryError } from "../../src/index.ts";
import { openRepo } from "../../src/store/repo.ts";
import { fixtureSource } from "../support/fixtures.ts";
import { rowSource } from "./families.ts";

const EMBEDDED = fixtureSource("demo/public/model");
const MB = 1e6;

const read = async (source: string, options: CheckpointOptions = {}): Promise<ReadCheckpoint> =>
  readCheckpoint(await openRepo(source, {}), options);

const sizingOf = (checkpoint: ReadCheckpoint) => (): Sizing => checkpoint;

/** Bytes that the formats need, published first, as an inspection with the same cache would find. */
async function needs(source: string): Promise<number[]> {
  const checkpoint = await read(source);
  return (["published", "q8", "q4"] as const).map((wanted) => neededBytes(checkpoint.plan.as(wanted), checkpoint));
}

describe("auto", () => {
  it("takes the most bits that fit, to the byte", async () => {
    const [published, q8, q4] = await needs(EMBEDDED);
    expect(published! - q8!).toBeGreaterThan(0.7 * MB);
    expect(q8! - q4!).toBeGreaterThan(0.3 * MB);
    const formatIn = async (memoryBytes: number): Promise<string> =>
      (await inspectCheckpoint(EMBEDDED, { weights: "auto", memoryBytes })).info.weights.format;
    expect([await formatIn(published!), await formatIn(published! - 1)]).toEqual(["bf16", "q8"]);
    expect([await formatIn(q8!), await formatIn(q8! - 1), await formatIn(q4!)]).toEqual(["q8", "q4", "q4"]);
  });

  it("refuses a budget that nothing fits, with the sizes of each", async () => {
    const [, , q4] = await needs(EMBEDDED);
    const refused = inspectCheckpoint(EMBEDDED, { weights: "auto", memoryBytes: q4! - 1 });
    await expect(refused).rejects.toThrow(OutOfMemoryError);
    await expect(refused).rejects.toMatchObject({ needed: q4!, available: q4! - 1 });
    await expect(refused).rejects.toThrow(/\(as published [\d.]+ MB, q8 [\d.]+ MB, q4 [\d.]+ MB\) needs \d+ bytes/);
  });

  it("says in one sentence what was chosen, by what, and which weights keep more", async () => {
    const [published, q8] = await needs(EMBEDDED);
    const reasonIn = async (memoryBytes: number): Promise<string> =>
      (await inspectCheckpoint(EMBEDDED, { weights: "auto", memoryBytes })).info.weights.reason;
    const sizes = /as published [\d.]+ MB, q8 [\d.]+ MB, q4 [\d.]+ MB/;
    const reasons = [await reasonIn(published!), await reasonIn(q8!)];
    for (const reason of reasons) expect(reason).toMatch(sizes);
    expect(reasons[0]).toMatch(/^as published, the most bits that fit the [\d.]+ MB of memoryBytes/);
    expect(reasons[1]).toMatch(/^q8, the most bits .*; embeddings and head keep bf16$/);
  });

  it("goes by the adapter where there is no budget, and does not refuse on a guess", async () => {
    const checkpoint = await read(EMBEDDED);
    const choose = (room: Room | undefined): string[] =>
      chooseWeights(checkpoint.plan, sizingOf(checkpoint), room).map(
        ({ plan, reason }) => `${plan.dominant}: ${reason}`,
      );
    const [published, q8] = await needs(EMBEDDED);
    expect(choose({ bytes: published!, by: "adapter" })[0]).toMatch(
      /^bf16: as published.*the adapter's largest buffer/,
    );
    const guessed = choose({ bytes: q8!, by: "adapter" });
    expect(guessed.map((said) => said.split(":")[0])).toEqual(["q8", "q4"]);
    expect(guessed[1]).toMatch(/^q4: q4, since the device had no room for more/);
    expect(choose({ bytes: 1, by: "adapter" })).toEqual([
      expect.stringMatching(/^q4: q4, the fewest bits, though more than/),
    ]);
    expect(choose(undefined)[0]).toMatch(/^bf16: as published: without memoryBytes or an adapter/);
  });

  it("lets the cache follow the weights", async () => {
    const source = fixtureSource("tests/fixtures/llama/untied-f32");
    const { plan, kv, otherwise } = await read(source, { weights: "auto", memoryBytes: 1e9 });
    expect([plan.dominant, kv, otherwise!.plan.dominant, otherwise!.kv]).toEqual(["f32", "f32", "q8", "f16"]);
    expect(otherwise!.info.weights).toMatchObject({ format: "q8", bytes: otherwise!.plan.residentBytes });
  });

  it("counts the cache: all layers over the whole context, a window no further than it sees", async () => {
    const need = async (source: string, contextTokens: number): Promise<number> => {
      const checkpoint = await read(source, { contextTokens });
      return neededBytes(checkpoint.plan, checkpoint);
    };
    // Steps have as many rows for both, so that only the cache differs: four contexts of it are wanted.
    const { kvBytesPerToken } = (await read(EMBEDDED)).info;
    expect((await need(EMBEDDED, 512)) - (await need(EMBEDDED, 320))).toBe(4 * 192 * kvBytesPerToken);
    const checkpoint = await read(EMBEDDED);
    const { family, config, plan } = checkpoint;
    const spec = family.cacheSpec(config);
    if (spec.kind !== "kv") throw new Error("no keys and values");
    const windows = Array.from({ length: spec.layers }, (_, i) => (i % 2 ? 32 : undefined));
    const long = { ...checkpoint, contextTokens: 8192 };
    const windowed = { ...long, family: { ...family, cacheSpec: () => ({ ...spec, windows }) } };
    // Two of five layers take ⌈31 / 64⌉ + ⌈256 / 64⌉ + 1 pages for each of 8 slots, where the others take 256 pages.
    const pageBytes = (64 * kvBytesPerToken) / spec.layers;
    expect(neededBytes(plan, long) - neededBytes(plan, windowed)).toBe(2 * (256 - 8 * 6) * pageBytes);
  });
});

describe("what keeps more bits", () => {
  const layoutsOf = (plan: WeightPlan, roles: readonly string[]): (string | undefined)[] =>
    roles.map((role) => plan.layouts.get(role));

  it("is the embeddings, positions and head, and the routers whatever is asked for", async () => {
    const gpt2 = (await read(rowSource("gpt2"))).plan;
    expect(layoutsOf(gpt2.as("q8"), ["embed", "positions", "0.qkv"])).toEqual(["f32", "f32", "q8"]);
    expect(layoutsOf(gpt2.as("q4"), ["embed", "positions", "0.qkv"])).toEqual(["q8", "q8", "q4"]);
    const mixtral = (await read(rowSource("mixtral"))).plan;
    const roles = ["embed", "head", "0.router", "0.experts_up"];
    expect(layoutsOf(mixtral.as("q4"), roles)).toEqual(["q8", "q8", "f32", "q4"]);
    expect(layoutsOf(mixtral.as("bf16"), roles)).toEqual(["bf16", "bf16", "f32", "bf16"]);
  });

  it("is told", async () => {
    const { reason } = (await read(rowSource("mixtral"), { weights: "q4" })).info.weights;
    expect(reason).toBe("as asked for; embeddings and head keep q8, routers f32");
  });

  it("is every norm and bias: vectors are f32 in every plan", async () => {
    const { plan } = await read(rowSource("gpt2"));
    for (const wanted of ["q8", "q4", "f16"] as const) {
      for (const [role, spec] of plan.table) expect(plan.as(wanted).layouts.has(role)).toBe(spec.kind === "linear");
    }
  });
});
