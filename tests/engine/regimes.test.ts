/** Which regime a request has, by the longest it may become; regimes.node.gpu.test.ts has what that does to it. */
import { describe, expect, it } from "vitest";
import { describe as describeForPeople } from "../../src/cli/inspect.ts";
import { inspectCheckpoint } from "../../src/engine/inspect.ts";
import { Regimes } from "../../src/engine/regimes.ts";
import { findFamily } from "../../src/models/index.ts";
import { readFixtureJson, readSharedJson, sharedSource } from "../support/fixtures.ts";
import { rowSource } from "./families.ts";

const PHI = "phi3-longrope-long";
const GEMMA = "gemma3_text";

async function regimesOf(row: string, contextTokens: number, change: object = {}): Promise<Regimes> {
  const published = await readFixtureJson<object>(`tests/fixtures/families/${row}/config.json`);
  const { family, json } = findFamily({ ...published, ...change });
  return new Regimes(family, family.parseConfig(json), contextTokens);
}

const dynamic = (factor: number): object => ({ rope_scaling: { type: "dynamic", factor } });

describe("a request's regime", () => {
  it("is the first that its longest length fits into", async () => {
    const phi = await regimesOf(PHI, 128);
    expect(phi.lengths).toEqual([64, 128]);
    expect([1, 63, 64, 65, 127, 128].map((length) => phi.of(length))).toEqual([0, 0, 0, 1, 1, 1]);
    const llama = await regimesOf("llama-dynamic-long", 200, dynamic(4));
    expect(llama.lengths).toEqual([64, 128, 256]);
    expect([2, 64, 65, 128, 129, 200].map((length) => llama.of(length))).toEqual([0, 0, 1, 1, 2, 2]);
    expect(() => llama.of(257)).toThrow(/257 tokens in regimes of 64, 128, 256/);
  });

  it("is the only one where frequencies do not depend on the length", async () => {
    for (const row of ["llama-linear", "llama-yarn", "llama-llama3", "gpt2", "bloom", GEMMA, "deepseek_v2"]) {
      const regimes = await regimesOf(row, 100);
      expect([row, regimes.lengths, regimes.of(100)]).toEqual([row, [100], 0]);
    }
    expect((await regimesOf(PHI, 64)).lengths).toEqual([64]);
  });

  it("is one for all layers of a model that rotate differently", async () => {
    const { specs, names } = await regimesOf(GEMMA, 250, dynamic(2));
    const frequencies = specs.map((ropes) => ropes.map(({ inverseFrequencies }) => inverseFrequencies.join()));
    expect(frequencies.map((ropes) => ropes.length)).toEqual([2, 2]);
    expect(frequencies[0]![0]).not.toBe(frequencies[1]![0]); // full layers are stretched
    expect(frequencies[0]![1]).toBe(frequencies[1]![1]); // windowed ones never
    expect(new Set(names).size).toBe(2);
  });

  it("has one name in every engine that has it", async () => {
    const names = (row: string, contextTokens: number, change?: object): Promise<readonly string[]> =>
      regimesOf(row, contextTokens, change).then((regimes) => regimes.names);
    const all = await names("llama-dynamic-long", 256, dynamic(4));
    expect(new Set(all).size).toBe(3);
    for (const [contextTokens, count] of [
      [256, 3],
      [129, 3],
      [128, 2],
      [65, 2],
      [64, 1],
      [2, 1],
    ] as const) {
      expect(await names("llama-dynamic-long", contextTokens, dynamic(4))).toEqual(all.slice(0, count));
    }
    expect(await names(PHI, 65)).toEqual(await names(PHI, 128));
    expect(await names(PHI, 40)).toEqual((await names(PHI, 128)).slice(0, 1));
  });
});

describe.skipIf(sharedSource("configs") === null)("the regimes of published configs", () => {
  it.each<[string, context: number, lengths: number[]]>([
    ["phi-3_5", 4096, [4096]],
    ["phi-3_5", 4097, [4096, 4097]],
    ["phi-4", 131072, [4096, 131072]],
    ["internlm2_5_7b", 32768, [32768]],
    ["internlm2_5_7b", 40000, [32768, 65536]],
    ["minicpm_2b", 262144, [65536, 131072, 262144]],
    ["llama3_1_8b", 131072, [131072]],
    ["gemma3_1b_it", 32768, [32768]],
  ])("%s with a context of %i", async (name, contextTokens, lengths) => {
    const { family, json } = findFamily(await readSharedJson(`configs/${name}.json`));
    expect(new Regimes(family, family.parseConfig(json), contextTokens).lengths).toEqual(lengths);
  });
});

describe("what a model says of its regimes", () => {
  it("is the longest request of each, as far as the context goes", async () => {
    const of = async (row: string, contextTokens: number): Promise<number[] | undefined> =>
      (await inspectCheckpoint(rowSource(row), { contextTokens })).info.regimes;
    expect(await of(PHI, 128)).toEqual([64, 128]);
    expect(await of(PHI, 65)).toEqual([64, 65]);
    expect(await of(PHI, 64)).toBeUndefined();
    expect(await of("llama-dynamic-long", 100)).toEqual([64, 100]);
  });

  it("is printed for people where there are several", async () => {
    const of = async (contextTokens: number): Promise<string> =>
      describeForPeople(await inspectCheckpoint(rowSource(PHI), { contextTokens }), false);
    expect(await of(128)).toContain("\nrotary regimes for requests of up to 64, 128 tokens\n");
    expect(await of(64)).not.toContain("regime");
  });
});
