/** Every real config of the shared folder is run, or refused for a reason that names what is not understood. */
import { describe, expect, it } from "vitest";
import { ConfigError, TesseraError, type UnsupportedModelError } from "../../src/base/errors.ts";
import { findFamily } from "../../src/models/index.ts";
import { readSharedJson, sharedSource } from "../support/fixtures.ts";

/** Parsed; the number says layers, key heads, head size, context. */
const RUN: Readonly<Record<string, readonly [layers: number, kvHeads: number, headDim: number, context: number]>> = {
  "Mixtral-8x7B-v0.1": [32, 8, 128, 32768],
  "aya-23": [32, 8, 128, 8192],
  codellama_13b: [40, 40, 128, 16384],
  codellama_34b: [48, 8, 128, 16384],
  codellama_7b: [32, 32, 128, 16384],
  deepseek: [28, 16, 128, 4096],
  deepseek_v2_lite: [27, 1, 576, 163840],
  gemma2_27b: [46, 16, 128, 8192],
  "gemma2_2b-jpn": [26, 4, 256, 8192],
  gemma2_2b: [26, 4, 256, 8192],
  gemma2_9b: [42, 8, 256, 8192],
  gemma3_1b_it: [26, 1, 256, 32768],
  gemma_2b: [18, 1, 256, 8192],
  gpt2: [12, 12, 64, 1024],
  gpt2_medium: [24, 16, 64, 1024],
  gpt_bigcode: [24, 1, 128, 2048],
  gpt_j: [28, 16, 256, 2048],
  internlm: [32, 32, 128, 2048],
  internlm2: [32, 8, 128, 32768],
  internlm2_5_7b: [32, 8, 128, 65536],
  llama2_13b: [40, 40, 128, 2048],
  llama2_70b: [80, 8, 128, 2048],
  llama2_7b: [32, 32, 128, 2048],
  llama3_1_70b: [80, 8, 128, 131072],
  llama3_1_8b: [32, 8, 128, 131072],
  llama3_2_1b: [16, 8, 64, 131072],
  llama3_2_3b: [28, 8, 128, 131072],
  "minicpm-moe-8x2b": [40, 36, 64, 4096],
  minicpm_2b: [40, 36, 64, 262144],
  minicpm_2b_sft_bf16: [40, 36, 64, 4096],
  mistral_7b: [32, 8, 128, 32768],
  mistral_7b_v03: [32, 8, 128, 32768],
  olmo2_13b: [40, 40, 128, 4096],
  olmo2_32b: [64, 8, 128, 4096],
  olmo2_7b: [32, 32, 128, 4096],
  orion: [40, 40, 128, 4096],
  "phi-1_5": [24, 32, 64, 2048],
  "phi-2": [32, 32, 80, 2048],
  "phi-3_5": [32, 32, 96, 131072],
  "phi-4": [32, 8, 128, 131072],
  "qwen2.5_3b": [36, 2, 128, 32768],
  qwen2: [24, 16, 128, 4096],
  qwen2_0_5b: [24, 2, 64, 32768],
  qwen2_1_5b: [28, 2, 128, 32768],
  qwen2_7b: [28, 4, 128, 32768],
  "qwen3_0.6b": [28, 8, 128, 40960],
  "qwen3_1.7b": [28, 8, 128, 40960],
  qwen2moe: [24, 16, 128, 32768],
  smollm2_135m: [30, 3, 64, 8192],
  smollm2_360m: [32, 5, 64, 8192],
  smollm_135m: [30, 3, 64, 2048],
  smollm_1_7b: [24, 32, 64, 2048],
  smollm_360m: [32, 5, 64, 2048],
  "stablelm-2-zephyr-1_6b": [24, 32, 64, 4096],
  stablelm: [32, 32, 80, 4096],
  starcoder2: [32, 4, 128, 16384],
  "tinyllama_1b_chat_v0.4": [22, 4, 64, 2048],
  "tinyllama_1b_chat_v1.0": [22, 4, 64, 2048],
};

/** Refused: what the error names. A model_type without a file here, or a field. */
const REFUSED: Readonly<Record<string, string>> = {
  // Other architectures.
  baichuan: "baichuan",
  chatglm: "chatglm",
  qwen: "qwen",
  rwkv5_3b: "rwkv5",
  "snowflake-arctic-embed-m": "bert",
  // Text inside a model of pictures and text.
  llava: "llava",
  ministral3_3b_2512: "ministral3",
  "phi-3_5-vision": "phi3_v",
};

const open = sharedSource("configs") !== null;

describe.skipIf(!open)("the published configs", () => {
  it.each(Object.entries(RUN))("runs %s", async (name, expected) => {
    const { family, json } = findFamily(await readSharedJson(`configs/${name}.json`));
    const config = family.parseConfig(json);
    const spec = family.cacheSpec(config);
    const { layers } = spec;
    const [heads, headDim] = spec.kind === "kv" ? [spec.heads, spec.headDim] : [1, spec.rank + spec.ropeDim];
    expect([layers, heads, headDim, config.contextTokens]).toEqual(expected);
    expect(family.weightTable(config).size).toBeGreaterThan(layers * 4);
    for (const { inverseFrequencies } of family.ropes(config, 4096)) {
      expect(inverseFrequencies.every((f) => f > 0 && f <= 1)).toBe(true);
    }
  });

  it.each(Object.entries(REFUSED))("refuses %s by the name of %s", async (name, what) => {
    const read = await readSharedJson(`configs/${name}.json`);
    let caught: unknown;
    try {
      const { family, json } = findFamily(read);
      family.parseConfig(json);
    } catch (error) {
      caught = error;
    }
    expect(caught).toBeInstanceOf(TesseraError);
    if (caught instanceof ConfigError) expect(caught.field).toBe(what);
    else expect((caught as UnsupportedModelError).modelType).toBe(what);
  });

  it("knows a verdict for every file", async () => {
    const { inject } = await import("vitest");
    const files = inject("sharedEntries").filter((entry) => /^configs\/[^/]+\.json$/.test(entry));
    const names = files.map((entry) => entry.slice("configs/".length, -".json".length)).sort();
    expect([...Object.keys(RUN), ...Object.keys(REFUSED)].sort()).toEqual(names);
  });
});
