/** The models whose layers are measured: small enough for a page, and unlike each other. From their published configs. */
export interface ModelShape {
  readonly name: string;
  readonly hidden: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly intermediate: number;
  readonly vocab: number;
}

export const SMOLLM2_135M: ModelShape = {
  name: "smollm2-135m",
  hidden: 576,
  heads: 9,
  kvHeads: 3,
  headDim: 64,
  intermediate: 1536,
  vocab: 49152,
};

export const QWEN3_06B: ModelShape = {
  name: "qwen3-0.6b",
  hidden: 1024,
  heads: 16,
  kvHeads: 8,
  headDim: 128,
  intermediate: 3072,
  vocab: 151936,
};

export const LLAMA32_1B: ModelShape = {
  name: "llama-3.2-1b",
  hidden: 2048,
  heads: 32,
  kvHeads: 8,
  headDim: 64,
  intermediate: 8192,
  vocab: 128256,
};

/** The linear layers of a decoder block as Tessera runs them: projections of one input are one matrix. */
export interface LinearShape {
  readonly role: "qkv" | "o" | "gate_up" | "down" | "head";
  readonly inFeatures: number;
  readonly outFeatures: number;
}

export function linearsOf(model: ModelShape): LinearShape[] {
  const { hidden, heads, kvHeads, headDim, intermediate, vocab } = model;
  return [
    { role: "qkv", inFeatures: hidden, outFeatures: (heads + 2 * kvHeads) * headDim },
    { role: "o", inFeatures: heads * headDim, outFeatures: hidden },
    { role: "gate_up", inFeatures: hidden, outFeatures: 2 * intermediate },
    { role: "down", inFeatures: intermediate, outFeatures: hidden },
    { role: "head", inFeatures: hidden, outFeatures: vocab },
  ];
}

/** A layer whose feed-forward is experts. */
export interface MixtureShape {
  readonly name: string;
  readonly hidden: number;
  /** Of one expert's inner layer. */
  readonly width: number;
  readonly experts: number;
  readonly topK: number;
}

export const OLMOE_7B: MixtureShape = { name: "olmoe-1b-7b", hidden: 2048, width: 1024, experts: 64, topK: 8 };
/** No model: a layer small enough for software. */
export const TINY_MIXTURE: MixtureShape = { name: "tiny-moe", hidden: 256, width: 128, experts: 16, topK: 2 };

/** A layer with multi-head latent attention. */
export interface LatentShape {
  readonly name: string;
  readonly heads: number;
  readonly rank: number;
  readonly ropeDim: number;
  /** Elements of a head's key that do not rotate, and of its value. */
  readonly nope: number;
  readonly valueDim: number;
}

export const DEEPSEEK_V2_LITE: LatentShape = {
  name: "deepseek-v2-lite",
  heads: 16,
  rank: 512,
  ropeDim: 64,
  nope: 128,
  valueDim: 128,
};
