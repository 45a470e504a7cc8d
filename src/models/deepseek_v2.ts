import type { Graph, Tensor } from "../kernels/graph.ts";
import { latentPrompt, latentRooms, takesPrompts, type LatentRooms } from "../kernels/latent-expand.ts";
import { latentOutput, latentQuery, latentWrite } from "../kernels/latent.ts";
import { embed, linear, type RmsNorm } from "../kernels/linear.ts";
import { parseWhole, type ConfigReader } from "./config.ts";
import { latentCache, type Family, type ModelConfig, type Resident } from "./family.ts";
import { onlySilu } from "./llama.ts";
import { expertsOf, mixture, mixtureTable, readMixture, withSharedExperts, type Mixture } from "./mixture.ts";
import { addPredictors } from "./predictors.ts";
import { withShared } from "./qwen2_moe.ts";
import { readTokens, requireFours } from "./read.ts";
import { readRope, ropeRegimes, ropeSpec, stretchedContext, yarnMscale, type RopeConfig } from "./rope.ts";
import { inTurn, stacked, TableBuilder, whole } from "./table.ts";

/**
 * The form of DeepSeek-V2 and V3 (2024): multi-head latent attention, whose cache is one vector a token, and fine-grained
 * experts beside shared ones after a few dense layers. What the two differ in is a field here.
 */
export interface DeepseekConfig extends ModelConfig {
  readonly heads: number;
  /** Elements of a head's query and key that do not rotate and that do, and of its value. */
  readonly nope: number;
  readonly ropeDim: number;
  readonly valueDim: number;
  /** Elements of the compressed keys and values. */
  readonly rank: number;
  /** Elements of the compressed queries; null where queries are not compressed. */
  readonly queryRank: number | null;
  readonly intermediateSize: number;
  readonly normEps: number;
  readonly tied: boolean;
  /** Of what leads to the compressed vectors, and of the output. */
  readonly biased: boolean;
  readonly rope: RopeConfig;
  readonly interleaved: boolean;
  /** Factor on attention's scores. */
  readonly scale: number;
  readonly mixture: Mixture;
  /** Modules behind the last layer that predict further tokens. */
  readonly predictors: number;
}

/** Of the norms of compressed vectors, whatever rms_norm_eps says, as in the authors' code. */
const LATENT_EPS = 1e-6;

/** Reads what both have. */
export function readDeepseek(c: ConfigReader, modelType: string, firstSparse: number): DeepseekConfig {
  onlySilu(c);
  c.only("quantization_config", [], "quantised checkpoints are not read yet; use the original one");
  c.only("moe_layer_freq", [1], "every layer behind the dense ones has experts");
  const hiddenSize = c.integer("hidden_size");
  const heads = c.integer("num_attention_heads");
  c.only("num_key_value_heads", [heads], "latent attention has a key for every query head");
  const [nope, ropeDim] = [c.integer("qk_nope_head_dim"), c.integer("qk_rope_head_dim", { max: 512 })];
  const [valueDim, rank] = [c.integer("v_head_dim"), c.integer("kv_lora_rank")];
  const queryRank = c.absent("q_lora_rank") ? null : c.integer("q_lora_rank");
  const intermediateSize = c.integer("intermediate_size");
  const sizes = { hidden_size: hiddenSize, intermediate_size: intermediateSize, qk_nope_head_dim: nope };
  requireFours(c, { ...sizes, qk_rope_head_dim: ropeDim, v_head_dim: valueDim, q_lora_rank: queryRank ?? 0 });
  if (rank % 8) throw c.error("kv_lora_rank", `${rank} is not a multiple of 8`);
  c.only("head_dim", [ropeDim], "it is not qk_rope_head_dim");
  c.only("qk_head_dim", [nope + ropeDim], "it is not what its parts make");
  const layers = c.integer("num_hidden_layers");
  const contextTokens = c.integer("max_position_embeddings", { fallback: 2048 });
  const rope = readRope(c, ropeDim, { contextTokens });
  return {
    modelType,
    layers,
    hiddenSize,
    ...readTokens(c),
    contextTokens: stretchedContext(contextTokens, rope),
    heads,
    nope,
    ropeDim,
    valueDim,
    rank,
    queryRank,
    intermediateSize,
    normEps: c.positive("rms_norm_eps", 1e-6),
    tied: c.boolean("tie_word_embeddings", false),
    biased: c.boolean("attention_bias", false),
    rope,
    interleaved: true,
    scale: (nope + ropeDim) ** -0.5 * yarnMscale(rope) ** 2,
    mixture: readExperts(c, layers, firstSparse),
    predictors: 0,
  };
}

/** Experts from layer `first_k_dense_replace` on, as wide as a shared one. */
export function readExperts(c: ConfigReader, layers: number, firstSparse: number): Mixture {
  const m = readMixture(c, layers, { experts: "n_routed_experts", width: "moe_intermediate_size" });
  const first = c.integer("first_k_dense_replace", { fallback: firstSparse, min: 0 });
  const shared = c.integer("n_shared_experts", { fallback: 0, min: 0 });
  return { ...withSharedExperts(c, m, shared, "n_shared_experts"), sparse: m.sparse.map((_, i) => i >= first) };
}

/** The best experts of the best groups. */
export function readGroups(c: ConfigReader, experts: number, score: "best" | "best two"): Pick<Mixture, "groups"> {
  const count = c.integer("n_group", { fallback: 1, max: 64 });
  const top = c.integer("topk_group", { fallback: count, max: count });
  if (experts % count) throw c.error("n_group", `${count} groups do not divide ${experts} experts`);
  if (score === "best two" && count > 1 && experts / count < 2) throw c.error("n_group", "groups have one expert each");
  return count === 1 ? {} : { groups: { count, top, score } };
}

/** One layer; `at` is its module, `i` the number that its roles carry. */
export function deepseekLayer(b: TableBuilder, config: DeepseekConfig, i: number, at: string): void {
  const { heads, nope, ropeDim, valueDim, rank, queryRank, hiddenSize, intermediateSize, biased } = config;
  const attention = `${at}.self_attn`;
  b.norm(`${i}.input_norm`, hiddenSize, `${at}.input_layernorm`);
  b.norm(`${i}.post_norm`, hiddenSize, `${at}.post_attention_layernorm`);
  const queries = heads * (nope + ropeDim);
  const query = queryRank === null ? ([`${attention}.q_proj`, queries] as const) : undefined;
  const first = query ?? ([`${attention}.q_a_proj`, queryRank!] as const);
  const compressed = stacked(first, [`${attention}.kv_a_proj_with_mqa`, rank + ropeDim]);
  b.matrix(`${i}.a`, hiddenSize, compressed, { bias: (module) => biased && !module.endsWith(".q_proj") });
  if (queryRank !== null) {
    b.norm(`${i}.q_norm`, queryRank, `${attention}.q_a_layernorm`);
    b.matrix(`${i}.q_b`, queryRank, whole(`${attention}.q_b_proj`, queries));
  }
  b.norm(`${i}.kv_norm`, rank, `${attention}.kv_a_layernorm`);
  // Read head by head, so in one piece.
  const expanded = heads * (nope + valueDim);
  b.matrix(`${i}.kv_b`, rank, whole(`${attention}.kv_b_proj`, expanded), { unit: expanded });
  b.matrix(`${i}.o`, heads * valueDim, whole(`${attention}.o_proj`, hiddenSize), { bias: biased });
  if (config.mixture.sparse[i] ?? true) {
    const shared = config.mixture.shared > 0;
    const { router, expert, ...own } = withShared(at, "shared_experts");
    mixtureTable(b, hiddenSize, config.mixture, i, { router, expert, ...(shared && own) });
  } else {
    b.matrix(`${i}.gate_up`, hiddenSize, inTurn(`${at}.mlp.gate_proj`, `${at}.mlp.up_proj`, intermediateSize));
    b.matrix(`${i}.down`, intermediateSize, whole(`${at}.mlp.down_proj`, hiddenSize));
  }
}

const rmsNorm = ({ weights, config }: Resident<DeepseekConfig>, role: string): RmsNorm => ({
  gain: weights.vector(role),
  eps: config.normEps,
});

/** x + attention(norm(x)) in the space of the latents: six dispatches, seven with compressed queries. */
function attend(
  graph: Graph,
  model: Resident<DeepseekConfig>,
  i: number,
  x: Tensor,
  rooms: LatentRooms | undefined,
): Tensor {
  const { config, weights, ropes } = model;
  const { heads, nope, ropeDim, valueDim, queryRank, interleaved, scale } = config;
  const cache = latentCache(model);
  const turn = { rope: ropes[0]!, interleaved };
  const shape = { heads, nope, valueDim };
  const kvB = weights.linear(`${i}.kv_b`);
  // Queries, or what makes them, then the latent.
  const a = linear(graph, x, weights.linear(`${i}.a`), { norm: rmsNorm(model, `${i}.input_norm`) });
  const column = queryRank ?? heads * (nope + ropeDim);
  latentWrite(graph, a, cache, i, { gain: weights.vector(`${i}.kv_norm`), eps: LATENT_EPS, column, ...turn });
  const queryNorm = (): RmsNorm => ({ gain: weights.vector(`${i}.q_norm`), eps: LATENT_EPS });
  const q = queryRank === null ? a : linear(graph, a, weights.linear(`${i}.q_b`), { norm: queryNorm(), leading: true });
  return linear(graph, attended(), weights.linear(`${i}.o`), { residual: x });

  function attended(): Tensor {
    if (rooms) return latentPrompt(graph, q, kvB, cache, i, { ...shape, ...turn, scale, rooms });
    const queries = latentQuery(graph, q, kvB, cache, { ...shape, ...turn });
    return latentOutput(graph, queries, kvB, cache, i, { ...shape, scale });
  }
}

function forward(graph: Graph, model: Resident<DeepseekConfig>): Tensor {
  const { config, weights } = model;
  const rooms = takesPrompts(graph) ? latentRooms(graph, latentCache(model), config) : undefined;
  let x = embed(graph, weights.linear("embed"));
  for (let i = 0; i < config.layers; i++) {
    x = attend(graph, model, i, x, rooms);
    const norm = rmsNorm(model, `${i}.post_norm`);
    if (config.mixture.sparse[i]) {
      x = mixture(graph, model, config.mixture, i, x, norm);
    } else {
      const gated = linear(graph, x, weights.linear(`${i}.gate_up`), { gate: "silu", norm });
      x = linear(graph, gated, weights.linear(`${i}.down`), { residual: x });
    }
  }
  return x;
}

/** A family of this form. */
export function deepseekFamily(
  modelTypes: readonly string[],
  parse: (c: ConfigReader, modelType: string) => DeepseekConfig,
): Family<DeepseekConfig> {
  return {
    modelTypes,
    parseConfig: (json) => parseWhole(json, parse),
    weightTable(config) {
      const b = new TableBuilder();
      b.embedding(config.hiddenSize, config.vocabSize, "model.embed_tokens", config.tied ? null : "lm_head");
      for (let i = 0; i < config.layers; i++) deepseekLayer(b, config, i, `model.layers.${i}`);
      b.norm("norm", config.hiddenSize, "model.norm");
      addPredictors(b, config, (own, i, at) => {
        deepseekLayer(own, config, i, at);
      });
      return b.table;
    },
    cacheSpec: ({ layers, rank, ropeDim, heads, nope, valueDim }) => ({
      kind: "latent",
      layers,
      rank,
      ropeDim,
      expanded: heads * (nope + ropeDim + valueDim),
    }),
    experts: (config) => expertsOf(config.mixture),
    ropes: ({ rope }, length) => [ropeSpec(rope, length)],
    regimes: ({ rope }, contextTokens) => ropeRegimes([rope], contextTokens),
    dispatches: { layer: 8, other: 1, head: 1 },
    moreDispatches: ({ queryRank }) => ({ layer: Number(queryRank !== null), sparse: 2, other: 0 }),
    forward,
    head: (graph, model, hidden) =>
      linear(graph, hidden, model.weights.linear(model.config.tied ? "embed" : "head"), {
        norm: rmsNorm(model, "norm"),
        gather: true,
      }),
  };
}

/** DeepSeek-V2 (2024), also Lite: softmax scores that are not renormalised, the best experts of the best groups. */
export const deepseekV2 = deepseekFamily(["deepseek_v2"], (c, modelType) => {
  c.only("scoring_func", ["softmax"], "DeepSeek-V2 has softmax scores");
  c.only("norm_topk_prob", [false], "DeepSeek-V2's weights are not renormalised");
  const config = readDeepseek(c, modelType, 0);
  const grouped = c.oneOf("topk_method", ["greedy", "group_limited_greedy"], "greedy") === "group_limited_greedy";
  const groups = readGroups(c, config.mixture.experts, "best");
  return {
    ...config,
    mixture: {
      ...config.mixture,
      renormalise: false,
      scale: c.positive("routed_scaling_factor", 1),
      ...(grouped && groups),
    },
  };
});
