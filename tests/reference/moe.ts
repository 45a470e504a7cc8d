/**
 * Mixtures of experts in float64, written from what Hugging Face's models do (mixtral, qwen2_moe, deepseek_v2, deepseek_v3,
 * gpt_oss): one token and one expert at a time.
 */
export interface RouterReference {
  topK: number;
  score: "softmax" | "sigmoid";
  renormalise?: boolean;
  /** Added to the scores to choose by. */
  bias?: ArrayLike<number>;
  groups?: { count: number; top: number; score: "best" | "best two" };
  scale?: number;
}

export interface Choice {
  id: number;
  weight: number;
}

/** The experts that one row of logits chooses, best first. */
export function routeReference(logits: readonly number[], given: RouterReference): Choice[] {
  const { topK, score, renormalise, bias, groups, scale = 1 } = given;
  const tame = logits.map((x) => (x === Infinity ? 1e30 : Number.isFinite(x) ? x : -1e30));
  const scores = score === "softmax" ? softmax(tame) : tame.map(sigmoid);
  const key = (id: number): number => scores[id]! + (bias?.[id] ?? 0);
  // What float64 cannot tell apart any more, the logits can.
  const better = (a: number, b: number): number => key(b) - key(a) || (bias ? 0 : tame[b]! - tame[a]!) || a - b;
  let candidates = scores.map((_, id) => id);
  if (groups) {
    const size = scores.length / groups.count;
    const members = (g: number): number[] => candidates.slice(g * size, (g + 1) * size).sort(better);
    const worth = (g: number): number => {
      const [best, second] = members(g).map(key);
      return groups.score === "best" ? best! : best! + second!;
    };
    const order = Array.from({ length: groups.count }, (_, g) => ({ g, worth: worth(g) }));
    order.sort((a, b) => b.worth - a.worth || a.g - b.g);
    candidates = order.slice(0, groups.top).flatMap(({ g }) => members(g));
  }
  const chosen = candidates.sort(better).slice(0, topK);
  const sum = chosen.reduce((s, id) => s + scores[id]!, 0);
  return chosen.map((id) => ({ id, weight: (scores[id]! / (renormalise ? sum + 1e-20 : 1)) * scale }));
}

export type GateReference = "silu" | "gelu-tanh" | "gelu-erf" | "relu" | "relu2" | "swiglu-clamped";

export interface ExpertsReference {
  /** [rows, hidden] */
  x: ArrayLike<number>;
  hidden: number;
  /** Width of an expert. */
  width: number;
  /** [experts · 2 · width, hidden], gate and up in turn, and [experts · hidden, width]. */
  gateUp: ArrayLike<number>;
  down: ArrayLike<number>;
  /** [experts · 2 · width] and [experts · hidden] */
  gateUpBias?: ArrayLike<number>;
  downBias?: ArrayLike<number>;
  gate: GateReference;
  limit?: number;
  norm?: { gain: ArrayLike<number>; eps: number };
  /** Each row's experts; an id past the experts there are adds nothing. */
  choices: readonly (readonly Choice[])[];
  /** [rows, hidden] */
  residual?: ArrayLike<number>;
  shared?: ArrayLike<number>;
  /** A logit a row: the shared part is multiplied by its sigmoid (qwen2_moe). */
  sharedGate?: ArrayLike<number>;
}

/** [rows, hidden]: residual + shared + Σ weight · expert(norm(x)). */
export function expertsReference(given: ExpertsReference): Float64Array {
  const { x, hidden, width, choices, residual, shared, sharedGate } = given;
  const experts = given.down.length / (hidden * width);
  const out = new Float64Array(choices.length * hidden);
  choices.forEach((chosen, t) => {
    const input = normalised(
      Float64Array.from({ length: hidden }, (_, i) => x[t * hidden + i]!),
      given.norm,
    );
    for (const { id, weight } of chosen) {
      if (id >= experts) continue;
      const act = Float64Array.from({ length: width }, (_, j) => {
        const row = id * 2 * width + 2 * j;
        const gate = dot(given.gateUp, row, input) + (given.gateUpBias?.[row] ?? 0);
        const up = dot(given.gateUp, row + 1, input) + (given.gateUpBias?.[row + 1] ?? 0);
        return gated(given, gate, up);
      });
      for (let n = 0; n < hidden; n++) {
        const row = id * hidden + n;
        out[t * hidden + n]! += weight * (dot(given.down, row, act) + (given.downBias?.[row] ?? 0));
      }
    }
    for (let i = t * hidden; i < (t + 1) * hidden; i++) {
      out[i]! += (residual?.[i] ?? 0) + (shared?.[i] ?? 0) * (sharedGate ? sigmoid(sharedGate[t]!) : 1);
    }
  });
  return out;
}

function gated({ gate: kind, limit = 0 }: ExpertsReference, gate: number, up: number): number {
  if (kind === "swiglu-clamped") {
    // gpt-oss: alpha = 1.702
    const g = Math.min(gate, limit);
    const u = Math.min(Math.max(up, -limit), limit);
    return (u + 1) * g * sigmoid(1.702 * g);
  }
  if (kind === "gelu-tanh") {
    return 0.5 * gate * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (gate + 0.044715 * gate ** 3))) * up;
  }
  if (kind === "relu2") return Math.max(gate, 0) ** 2 * up;
  if (kind !== "silu") throw new Error(`no reference for ${kind}`);
  return gate * sigmoid(gate) * up;
}

function dot(matrix: ArrayLike<number>, row: number, x: Float64Array): number {
  let sum = 0;
  for (let k = 0; k < x.length; k++) sum += matrix[row * x.length + k]! * x[k]!;
  return sum;
}

function normalised(x: Float64Array, norm: ExpertsReference["norm"]): Float64Array {
  if (!norm) return x;
  const mean = x.reduce((sum, v) => sum + v * v, 0) / x.length;
  return x.map((v, k) => (v / Math.sqrt(mean + norm.eps)) * norm.gain[k]!);
}

function softmax(x: readonly number[]): number[] {
  const top = x.reduce((a, b) => Math.max(a, b), -Infinity);
  const e = x.map((v) => Math.exp(v - top));
  const sum = e.reduce((a, b) => a + b, 0);
  return e.map((v) => v / sum);
}

function sigmoid(x: number): number {
  return 1 / (1 + Math.exp(-x));
}
