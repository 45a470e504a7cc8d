import type { Gate } from "../kernels/epilogue.ts";
import { experts } from "../kernels/experts.ts";
import type { Graph, Tensor } from "../kernels/graph.ts";
import { linear, type RmsNorm } from "../kernels/linear.ts";
import { route, type RouterOptions } from "../kernels/router.ts";
import type { ConfigReader } from "./config.ts";
import type { ExpertsSpec, ModelConfig, Resident } from "./family.ts";
import { inTurn, stacked, type Part, type TableBuilder } from "./table.ts";

/**
 * A mixture of experts in the place of a layer's feed-forward (Shazeer et al. 2017; Fedus et al. 2021): a router sends each
 * token to topK of the experts. Shared experts, to which every token goes (DeepSeekMoE, 2024), reside behind the routed
 * ones as if they were more of them, so that they cost no dispatch.
 */
export interface Mixture extends Pick<RouterOptions, "score" | "renormalise" | "groups" | "scale"> {
  readonly experts: number;
  readonly topK: number;
  /** Intermediate size of one expert. */
  readonly width: number;
  /** Shared experts, each as wide as a routed one; `sharedGate`: times the sigmoid of a logit of their own (Qwen2-MoE). */
  readonly shared: number;
  readonly sharedGate: boolean;
  /** A published bias [experts] on the scores, to choose by (DeepSeek-V3). */
  readonly selectionBias: boolean;
  readonly gate: Gate;
  readonly limit?: number;
  /** For each layer whether it has experts; the others have a plain feed-forward. */
  readonly sparse: readonly boolean[];
}

/** Experts of a layer, shared ones among them, that the kernels have room for. */
const MOST_EXPERTS = 512;

/** What families differ in where they say the same. */
export interface MixtureFields {
  readonly experts: string;
  readonly width: string;
}

/** Reads the number of experts, how many a token goes to, and how wide they are. Every layer has them. */
export function readMixture(c: ConfigReader, layers: number, fields: MixtureFields): Mixture {
  const experts = c.integer(fields.experts, { max: MOST_EXPERTS });
  const width = c.integer(fields.width);
  if (width % 4) throw c.error(fields.width, `${width} is not a multiple of 4`);
  // What training adds to the loss, and noise that is not there when a model is run.
  for (const field of ["router_aux_loss_coef", "router_jitter_noise", "aux_loss_alpha"]) c.number(field);
  c.boolean("seq_aux", true);
  c.ignore("ep_size"); // how training spread experts over devices
  return {
    experts,
    topK: c.integer("num_experts_per_tok", { max: Math.min(experts, 32) }),
    width,
    score: "softmax",
    renormalise: true,
    shared: 0,
    sharedGate: false,
    selectionBias: false,
    gate: "silu",
    sparse: Array.from({ length: layers }, () => true),
  };
}

/** Adds experts for every token, `count` times as wide as a routed one in all; `field` is where the config says so. */
export function withSharedExperts(c: ConfigReader, m: Mixture, count: number, field: string): Mixture {
  if (count > 32) throw c.error(field, `shared experts as wide as ${count} routed ones: at most 32`);
  if (m.experts + count > MOST_EXPERTS)
    throw c.error(field, `${m.experts} + ${count} experts: at most ${MOST_EXPERTS}`);
  return { ...m, shared: count };
}

/** The layers of a mixture that have experts, for `Family.experts`. */
export function expertsOf({ experts, shared, sparse }: Mixture): ExpertsSpec {
  return { layers: sparse.flatMap((is, i) => (is ? [i] : [])), experts, shared };
}

/** The modules of a layer's experts as most families publish them, one by one. */
export interface MixtureModules {
  readonly router: string;
  /** Gate, up and down of a routed expert. */
  readonly expert: (e: number) => readonly [gate: string, up: string, down: string];
  /** The same of the shared experts, which are published as one. */
  readonly shared?: readonly [gate: string, up: string, down: string];
  readonly sharedGate?: string;
}

/** What the stacks of a layer have in common: whole experts in a buffer, of which a token meets a few. */
export function stackOptions(m: Mixture, unit: number): { unit: number; active: number } {
  return { unit, active: (m.topK + m.shared) / (m.experts + m.shared) };
}

/** The router and both stacks of a layer. */
export function mixtureTable(b: TableBuilder, hidden: number, m: Mixture, i: number, modules: MixtureModules): void {
  const { width } = m;
  const gates = modules.sharedGate === undefined ? [] : [[modules.sharedGate, 1] as const];
  b.matrix(`${i}.router`, hidden, stacked([modules.router, m.experts], ...gates), { exact: true });
  if (m.selectionBias) b.vector(`${i}.router_bias`, m.experts, `${modules.router}.e_score_correction_bias`);
  const [gateUp, down]: [Part[], Part[]] = [[], []];
  const at = (parts: Part[], row: number): Part[] => parts.map((p) => ({ ...p, firstRow: p.firstRow + row }));
  for (let e = 0; e < m.experts; e++) {
    const [gateName, upName, downName] = modules.expert(e);
    gateUp.push(...at(inTurn(gateName, upName, width), e * 2 * width));
    down.push({ tensor: downName, rows: hidden, firstRow: e * hidden, rowStep: 1 });
  }
  if (modules.shared) {
    const [gateName, upName, downName] = modules.shared;
    gateUp.push(...at(inTurn(gateName, upName, m.shared * width), m.experts * 2 * width));
    // One expert's columns of the shared down projection are another's by so many.
    for (let s = 0; s < m.shared; s++) {
      const columns = m.shared > 1 && { fromColumn: s * width, tensorColumns: m.shared * width };
      down.push({ tensor: downName, rows: hidden, firstRow: (m.experts + s) * hidden, rowStep: 1, ...columns });
    }
  }
  b.matrix(`${i}.experts_up`, hidden, gateUp, stackOptions(m, 2 * width));
  b.matrix(`${i}.experts_down`, width, down, stackOptions(m, hidden));
}

/** residual + Σ weight · expert(norm(x)), for layer i: [rows, hidden]. Four dispatches for few rows. */
export function mixture<C extends ModelConfig>(
  graph: Graph,
  { weights, experts: tables }: Resident<C>,
  m: Mixture,
  i: number,
  x: Tensor,
  norm: RmsNorm,
): Tensor {
  const logits = linear(graph, x, weights.linear(`${i}.router`), { norm });
  const { score, renormalise, groups, scale, shared, sharedGate, gate, limit } = m;
  const table = tables?.get(i);
  const routing = route(graph, logits, {
    experts: m.experts,
    topK: m.topK,
    score,
    ...(renormalise && { renormalise }),
    ...(groups && { groups }),
    ...(scale !== undefined && { scale }),
    ...(m.selectionBias && { bias: weights.vector(`${i}.router_bias`) }),
    ...(shared && { shared: { count: shared, ...(sharedGate && { gate: m.experts }) } }),
    ...table,
  });
  const stacks = { gateUp: weights.linear(`${i}.experts_up`), down: weights.linear(`${i}.experts_down`) };
  const options = { gate, norm, residual: x, ...(limit !== undefined && { limit }) };
  return experts(graph, x, routing, { slots: m.experts + shared, ...stacks }, options);
}
