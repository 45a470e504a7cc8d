/** What configs of mixtures say beside experts: windows and cuts, as transformers takes them. */
import { describe, expect, it } from "vitest";
import { findFamily } from "../../src/models/index.ts";
import type { LlamaConfig } from "../../src/models/llama.ts";
import { readFixtureJson } from "../support/fixtures.ts";

async function parsed(row: string, fields: Record<string, unknown>): Promise<LlamaConfig> {
  const published = await readFixtureJson<Record<string, unknown>>(`tests/fixtures/families/${row}/config.json`);
  const { family, json } = findFamily({ ...published, ...fields });
  return family.parseConfig(json) as LlamaConfig;
}

const windows = ({ attention }: LlamaConfig): (number | undefined)[] => attention.map(({ window }) => window);

describe("qwen3_moe", () => {
  const row = "qwen3_moe-window";

  it("has its window in every layer, where windows are switched on", async () => {
    expect(windows(await parsed(row, {}))).toEqual([16, 16]);
    expect(windows(await parsed(row, { max_window_layers: undefined }))).toEqual([16, 16]);
    expect(windows(await parsed(row, { use_sliding_window: false }))).toEqual([undefined, undefined]);
    expect(windows(await parsed(row, { use_sliding_window: false, max_window_layers: 48 }))).toEqual([
      undefined,
      undefined,
    ]);
  });

  it.each([
    ["max_window_layers", 1, /max_window_layers: 1 is not supported: this family has its window in every layer/],
    ["sliding_window", null, /sliding_window: is missing/],
    ["sliding_window", 0, /sliding_window/],
  ])("refuses %s %s beside switched-on windows", async (field, value, message) => {
    await expect(parsed(row, { [field]: value })).rejects.toThrow(message);
  });
});

describe("olmoe", () => {
  it("cuts queries, keys and values where its config says so", async () => {
    expect((await parsed("olmoe-clip", {})).clip).toBe(0.75);
    expect((await parsed("olmoe-clip", { clip_qkv: 8 })).clip).toBe(8);
    for (const nothing of [null, undefined])
      expect((await parsed("olmoe", { clip_qkv: nothing })).clip).toBeUndefined();
    await expect(parsed("olmoe", { clip_qkv: 0 })).rejects.toThrow(/clip_qkv: 0 is not a positive number/);
  });
});
