import type { ConfigReader } from "./config.ts";

/** Names under which a family's config has the same numbers. */
export interface HeadFields {
  readonly heads?: string;
  readonly kvHeads?: string;
}

/** Query heads, key heads and the elements of one. */
export function readHeads(
  c: ConfigReader,
  hiddenSize: number,
  defaults: { readonly kvHeads?: number; readonly headDim?: number; readonly fields?: HeadFields } = {},
): { heads: number; kvHeads: number; headDim: number } {
  const { heads: headsField = "num_attention_heads", kvHeads: kvField = "num_key_value_heads" } = defaults.fields ?? {};
  const heads = c.integer(headsField);
  const kvHeads = c.integer(kvField, { fallback: defaults.kvHeads ?? heads });
  if (heads % kvHeads) throw c.error(kvField, `${kvHeads} does not divide ${heads} heads`);
  if (c.absent("head_dim") && defaults.headDim === undefined && hiddenSize % heads) {
    throw c.error(headsField, `${heads} heads do not divide a width of ${hiddenSize}`);
  }
  const headDim = c.integer("head_dim", { fallback: defaults.headDim ?? hiddenSize / heads, max: 512 });
  return { heads, kvHeads, headDim };
}

/** Vocabulary, and the tokens that begin and end a text. */
export function readTokens(c: ConfigReader): { vocabSize: number; bosId: number | null; eosIds: number[] } {
  const vocabSize = c.integer("vocab_size");
  return {
    vocabSize,
    bosId: c.tokenIds("bos_token_id", vocabSize)[0] ?? null,
    eosIds: c.tokenIds("eos_token_id", vocabSize),
  };
}

/** Kernels read four columns at a time. */
export function requireFours(c: ConfigReader, sizes: Readonly<Record<string, number>>): void {
  for (const [field, n] of Object.entries(sizes)) if (n % 4) throw c.error(field, `${n} is not a multiple of 4`);
}

/** What each layer's attention reaches: from `layer_types` where it is given, else as the family's older fields say. */
export function readLayerTypes(c: ConfigReader, layers: number, otherwise: (i: number) => boolean): boolean[] {
  if (c.absent("layer_types")) return Array.from({ length: layers }, (_, i) => otherwise(i));
  const isType = (x: unknown): x is string => x === "full_attention" || x === "sliding_attention";
  return c
    .list("layer_types", layers, "full_attention or sliding_attention", isType)
    .map((t) => t === "sliding_attention");
}
