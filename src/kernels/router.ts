import { invariant } from "../base/assert.ts";
import routeWgsl from "../../shaders/moe_route.wgsl?raw";
import type { Range } from "./batch.ts";
import type { Binding } from "./define.ts";
import type { Graph, Tensor } from "./graph.ts";

/** How a family chooses experts. The logits come from a linear layer, which may have the norm folded in. */
export interface RouterOptions {
  /** At most 512. The logits may be wider: what follows the experts' columns is not looked at, but for `shared.gate`. */
  experts: number;
  /** Experts of a token; at most 64. */
  topK: number;
  /** softmax over all experts (Mixtral, Qwen, DeepSeek-V2, gpt-oss), or sigmoid of each (DeepSeek-V3, GLM). */
  score: "softmax" | "sigmoid";
  /**
   * Divide the chosen scores by their sum (+ 1e-20, as DeepSeek does). Softmax over the chosen logits alone, as gpt-oss
   * says it, is the same as softmax over all with this.
   */
  renormalise?: boolean;
  /** [experts] f32, added to the scores to choose by, not to weight by. */
  bias?: Range;
  /** Only experts of the `top` best of `count` equal groups; a group's score is its best expert's, or its two best's sum. */
  groups?: { count: number; top: number; score: "best" | "best two" };
  /** The weights are multiplied by this (routed_scaling_factor). 1 where absent. */
  scale?: number;
  /**
   * Experts that every token goes to beside the chosen ones, numbered from `experts` on: with weight 1, or with the sigmoid
   * of column `gate` of the logits (Qwen2-MoE). Neither `renormalise` nor `scale` is about them.
   */
  shared?: { count: number; gate?: number };
  /** [experts + shared] u32: the slot of each expert's weights; anything past the slots is an expert that adds nothing. */
  slots?: Range;
  /** [experts] u32: to be added how often each expert was chosen in this batch. Nobody reads it unless asked. */
  counts?: Range;
}

/** Where the tokens of a batch go. */
export interface Routing {
  readonly experts: number;
  /** Experts of a row, the shared ones among them. */
  readonly topK: number;
  /** [rows, topK] u32: chosen experts, best first, of equals the lower id; then the shared ones. */
  readonly ids: Tensor;
  /** [rows, topK] (slot u32, weight as the bits of an f32). */
  readonly routes: Tensor;
}

const MOST_EXPERTS = 512;
const MOST_CHOSEN = 64;

/**
 * Chooses topK experts for each row of logits [rows, ≥ experts] f32. One dispatch, one workgroup a row.
 *
 * Mixtral: Jiang et al. 2024; groups: DeepSeek-V2 (2024), there with group score "best"; sigmoid, bias and "best two":
 * DeepSeek-V3 (2024). Experts of other groups are out, whatever their score, as in DeepSeek's own code; transformers sets
 * them to 0, which differs where a biased score is negative.
 */
export function route(graph: Graph, logits: Tensor, options: RouterOptions): Routing {
  const { experts, topK, score, renormalise = false, bias, groups, scale = 1, slots, counts } = options;
  const { count: shared, gate } = { count: 0, ...options.shared };
  const [groupCount, topGroups] = [groups?.count ?? 1, groups?.top ?? 1];
  const groupSize = experts / groupCount;
  invariant(experts >= 1 && experts <= MOST_EXPERTS && logits.width >= experts, `router of ${experts} experts`);
  invariant(Number.isInteger(groupSize) && groupCount <= 64, `${experts} experts in ${groupCount} groups`);
  invariant(groups?.score !== "best two" || groupSize >= 2, `the two best of groups of ${groupSize}`);
  invariant(topGroups <= groupCount && topK >= 1, `the top ${topGroups} of ${groupCount} groups, ${topK} experts`);
  invariant(topK <= topGroups * groupSize, `${topK} of ${topGroups * groupSize} experts`);
  invariant(topK + shared <= MOST_CHOSEN, `${topK} + ${shared} experts of a token`);
  invariant(gate === undefined || gate < logits.width, `a gate in column ${gate} of ${logits.width}`);
  invariant(logits.extent === "rows", "a router's logits are the batch's rows");
  const ids = graph.tensor("rows", topK + shared);
  const routes = graph.tensor("rows", 2 * (topK + shared));
  const bindings: Binding[] = [
    { name: "logits", access: "read", type: "array<f32>" },
    ...(bias ? [{ name: "bias", access: "read", type: "array<f32>" } as const] : []),
    ...(slots ? [{ name: "slots", access: "read", type: "array<u32>" } as const] : []),
    { name: "ids", access: "read_write", type: "array<u32>" },
    { name: "routes", access: "read_write", type: "array<vec2u>" },
    ...(counts ? [{ name: "counts", access: "read_write", type: "array<atomic<u32>>" } as const] : []),
  ];
  graph.dispatch(
    {
      name: `moe route ${score}`,
      wgsl: routeWgsl,
      fragments: [
        `fn biasAt(e: u32) -> f32 { return ${bias ? "bias[e]" : "0.0"}; }`,
        `fn slotOf(e: u32) -> u32 { return ${slots ? "slots[e]" : "e"}; }`,
        `fn countExpert(e: u32) { ${counts ? "atomicAdd(&counts[e], 1u);" : ""} }`,
        `fn sharedWeight(t: u32) -> f32 { return ${gate === undefined ? "1.0" : SHARED_GATE}; }`,
      ],
      bindings,
      params: {
        experts: "u32",
        stride: "u32",
        topK: "u32",
        sharedCount: "u32",
        gateColumn: "u32",
        groups: "u32",
        groupSize: "u32",
        topGroups: "u32",
        scale: "f32",
      },
      constants: {
        LANES: experts <= 64 ? 64 : 256,
        SOFTMAX: score === "softmax",
        RENORMALISE: renormalise,
        GROUPED: topGroups < groupCount,
        GROUP_BY_TWO: groups?.score === "best two",
        // Both scores grow with the logit, which says more: scores far from the best are all 0, or all 1.
        KEY_IS_LOGIT: !bias && groups?.score !== "best two",
      },
    },
    {
      experts,
      stride: logits.width,
      topK,
      sharedCount: shared,
      gateColumn: gate ?? 0,
      groups: groupCount,
      groupSize,
      topGroups,
      scale,
    },
    { logits, ...(bias && { bias }), ...(slots && { slots }), ids, routes, ...(counts && { counts }) },
    [graph.rows],
  );
  return { experts, topK: topK + shared, ids, routes };
}

const SHARED_GATE = "1.0 / (1.0 + exp(min(-logits[t * params.stride + params.gateColumn], 80.0)))";
