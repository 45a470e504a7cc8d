import { ConfigError, UnsupportedModelError } from "../base/errors.ts";
import { bloom } from "./bloom.ts";
import { cohere } from "./cohere.ts";
import { deepseek } from "./deepseek.ts";
import { deepseekV2 } from "./deepseek_v2.ts";
import { deepseekV3 } from "./deepseek_v3.ts";
import { falcon } from "./falcon.ts";
import type { Family } from "./family.ts";
import { gemma } from "./gemma.ts";
import { gemma2 } from "./gemma2.ts";
import { gemma3 } from "./gemma3.ts";
import { gpt2 } from "./gpt2.ts";
import { gptOss } from "./gpt_oss.ts";
import { gptBigcode } from "./gpt_bigcode.ts";
import { gptNeox } from "./gpt_neox.ts";
import { gptj } from "./gptj.ts";
import { granite } from "./granite.ts";
import { graniteMoe } from "./granitemoe.ts";
import { internlm } from "./internlm.ts";
import { internlm2 } from "./internlm2.ts";
import { llama } from "./llama.ts";
import { minicpm } from "./minicpm.ts";
import { mistral } from "./mistral.ts";
import { mixtral } from "./mixtral.ts";
import { mpt } from "./mpt.ts";
import { olmo2 } from "./olmo2.ts";
import { olmoe } from "./olmoe.ts";
import { phi, phiMsft } from "./phi.ts";
import { phi3 } from "./phi3.ts";
import { qwen2 } from "./qwen2.ts";
import { qwen2Moe } from "./qwen2_moe.ts";
import { qwen3 } from "./qwen3.ts";
import { qwen3Moe } from "./qwen3_moe.ts";
import { smollm3 } from "./smollm3.ts";
import { orion, stablelm } from "./stablelm.ts";
import { starcoder2 } from "./starcoder2.ts";

/** Every architecture, found by `model_type`. To add one: a file beside llama.ts, and its name here. */
const FAMILIES: readonly Family[] = [
  llama,
  mistral,
  qwen2,
  qwen3,
  gemma,
  gemma2,
  gemma3,
  phi3,
  olmo2,
  granite,
  minicpm,
  smollm3,
  internlm,
  internlm2,
  gpt2,
  gptBigcode,
  gptNeox,
  gptj,
  phi,
  phiMsft,
  starcoder2,
  stablelm,
  orion,
  cohere,
  falcon,
  bloom,
  mpt,
  mixtral,
  qwen2Moe,
  qwen3Moe,
  olmoe,
  graniteMoe,
  gptOss,
  deepseek,
  deepseekV2,
  deepseekV3,
];

export const supportedModelTypes: readonly string[] = FAMILIES.flatMap((f) => f.modelTypes);

/** The family of a config.json. UnsupportedModelError names what is supported. */
export function findFamily(config: unknown): { family: Family; json: Readonly<Record<string, unknown>> } {
  if (typeof config !== "object" || config === null || Array.isArray(config)) {
    throw new ConfigError("(whole file)", "is not a JSON object");
  }
  const json = config as Record<string, unknown>;
  const modelType = json["model_type"];
  if (typeof modelType !== "string") throw new ConfigError("model_type", "is missing or not a string");
  const family = FAMILIES.find((f) => f.modelTypes.includes(modelType));
  if (!family) throw new UnsupportedModelError(modelType, supportedModelTypes);
  return { family, json };
}
