import { GPT, gptFamily, plainScales } from "./gpt.ts";
import { readHeads, readTokens, requireFours } from "./read.ts";
import { whole } from "./table.ts";

/** MPT's slopes: those of the power of two above, odd ones first, where the number of heads is none. */
function mptSlopes(heads: number, most: number): number[] {
  const above = 2 ** Math.ceil(Math.log2(heads));
  const slopes = Array.from({ length: above }, (_, i) => 2 ** ((-most * (i + 1)) / above));
  if (above === heads) return slopes;
  const every = (first: number): number[] => slopes.filter((_, i) => i % 2 === first);
  return [...every(1), ...every(0)].slice(0, heads);
}

/** MPT (MosaicML 2023): ALiBi, no biases at all. */
export const mpt = gptFamily({
  modelTypes: ["mpt"],
  parse(c, modelType) {
    c.only("quantization_config", [], "quantised checkpoints are not read yet; use the original one");
    c.only("no_bias", [true], "nothing is to have a bias");
    c.only("norm_type", ["low_precision_layernorm", "layernorm"], "norms are to be LayerNorm");
    c.only("logit_scale", [], "logits are not to be scaled");
    c.only("embedding_fraction", [1], "the whole embedding is to be used");
    c.boolean("learned_pos_emb", true); // with ALiBi there are none, whatever it says
    const a = c.nested("attn_config");
    if (!a) throw c.error("attn_config", "is missing, so nothing says that positions are ALiBi's");
    a.only("alibi", [true], "positions are to be ALiBi's");
    a.only("attn_type", ["multihead_attention"], "every query head is to have keys of its own");
    for (const flag of ["qk_ln", "prefix_lm", "attn_uses_sequence_id"]) a.only(flag, [false], "plain attention is run");
    a.only("clip_qkv", [], "queries, keys and values are not clipped");
    const scale = a.number("softmax_scale");
    const most = a.integer("alibi_bias_max", { fallback: 8 });
    a.finish();
    const hiddenSize = c.integer("d_model");
    const { heads, headDim } = readHeads(c, hiddenSize, { fields: { heads: "n_heads" } });
    requireFours(c, { d_model: hiddenSize, n_heads: headDim });
    c.only("expansion_ratio", [4], "the feed-forward is to be four times as wide");
    const layers = c.integer("n_layers");
    const plain = plainScales(layers, headDim);
    return {
      ...GPT,
      modelType,
      layers,
      hiddenSize,
      ...readTokens(c),
      contextTokens: c.integer("max_seq_len", { fallback: 2048 }),
      heads,
      kvHeads: heads,
      headDim,
      innerSize: 4 * hiddenSize,
      slopes: mptSlopes(heads, most),
      normBias: false,
      normEps: c.positive("layer_norm_epsilon", 1e-5),
      activation: "gelu-erf",
      tied: c.boolean("tie_word_embeddings", true),
      attentionScales: scale === undefined ? plain : plain.map(() => scale),
      biases: { qkv: false, out: false, mlp: false },
    };
  },
  modules: () => ({ embed: "transformer.wte", norm: "transformer.norm_f", head: "lm_head" }),
  layer(b, { hiddenSize, innerSize }, i) {
    const at = `transformer.blocks.${i}`;
    b.norm(`${i}.attention_norm`, hiddenSize, `${at}.norm_1`);
    b.matrix(`${i}.qkv`, hiddenSize, whole(`${at}.attn.Wqkv`, 3 * hiddenSize));
    b.matrix(`${i}.o`, hiddenSize, whole(`${at}.attn.out_proj`, hiddenSize));
    b.norm(`${i}.mlp_norm`, hiddenSize, `${at}.norm_2`);
    b.matrix(`${i}.up`, hiddenSize, whole(`${at}.ffn.up_proj`, innerSize));
    b.matrix(`${i}.down`, innerSize, whole(`${at}.ffn.down_proj`, hiddenSize));
  },
});
