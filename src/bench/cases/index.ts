import { DEEPSEEK_V2_LITE, LLAMA32_1B, OLMOE_7B, QWEN3_06B, SMOLLM2_135M, TINY_MIXTURE } from "../shapes.ts";
import { attentionDecode, attentionPrefill, ropeWriteCase } from "./attention.ts";
import type { KernelCase } from "./case.ts";
import { latentDecode, latentPrefill } from "./latent.ts";
import { embedCase, linearCases } from "./linear.ts";
import { expertsCase } from "./mixture.ts";
import { normCase } from "./norm.ts";
import { sampleCase } from "./sample.ts";

export type { KernelCase } from "./case.ts";

/** The cases of a GPU. */
export function fullCases(): KernelCase[] {
  const models = [QWEN3_06B, LLAMA32_1B, SMOLLM2_135M];
  return [
    ...linearCases(models, ["q4"], [1, 4, 128, 512]),
    ...linearCases([LLAMA32_1B], ["q8", "f16"], [1, 4, 512]),
    ...models.flatMap((model) => [
      attentionDecode(model, "f16", 512),
      attentionDecode(model, "f16", 4096),
      attentionPrefill(model, "f16", 512),
      ropeWriteCase(model, "f16", 1),
      ropeWriteCase(model, "f16", 512),
    ]),
    attentionDecode(LLAMA32_1B, "f16", 4096, 4),
    attentionDecode(LLAMA32_1B, "f32", 4096),
    latentDecode(DEEPSEEK_V2_LITE, 512),
    latentDecode(DEEPSEEK_V2_LITE, 4096),
    latentPrefill(DEEPSEEK_V2_LITE, 512),
    expertsCase(OLMOE_7B, "q4", 1),
    expertsCase(OLMOE_7B, "q4", 128),
    normCase(LLAMA32_1B, 1),
    normCase(LLAMA32_1B, 512),
    embedCase(QWEN3_06B, "q8", 1),
    embedCase(QWEN3_06B, "q8", 512),
    sampleCase(QWEN3_06B, 1),
    sampleCase(QWEN3_06B, 1, true),
  ];
}

/** Shapes of the smallest model, for software devices and CI: they show counts, and that everything runs. */
export function smallCases(): KernelCase[] {
  const model = SMOLLM2_135M;
  return [
    ...linearCases([model], ["q4"], [1, 32]),
    ...linearCases([model], ["q8", "f16"], [1]).filter(({ name }) => name.includes("qkv")),
    ...linearCases([model], ["q4"], [4]).filter(({ name }) => name.includes("qkv")),
    attentionDecode(model, "f16", 512),
    attentionDecode(model, "f32", 512),
    attentionPrefill(model, "f16", 64),
    ropeWriteCase(model, "f16", 1),
    ropeWriteCase(model, "f16", 64),
    latentDecode(DEEPSEEK_V2_LITE, 512),
    expertsCase(TINY_MIXTURE, "q4", 1),
    expertsCase(TINY_MIXTURE, "q4", 32),
    normCase(model, 1),
    normCase(model, 64),
    embedCase(model, "q8", 1),
    embedCase(model, "q8", 64),
    sampleCase(model, 1),
    sampleCase(model, 1, true),
  ];
}
