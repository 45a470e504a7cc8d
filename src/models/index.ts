import { ConfigError, UnsupportedModelError } from "../base/errors.ts";
import type { Family } from "./family.ts";
import { llama } from "./llama.ts";

/** Every architecture, found by `model_type`. To add one: a file beside llama.ts, and its name here. */
const FAMILIES: readonly Family[] = [llama];

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
