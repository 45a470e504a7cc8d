/**
 * The module that predicts the token after the next (multi-token prediction): its weights, taken by the roles that they are
 * loaded under, in a forward in float64, against what transformers computes from the published tensors.
 */
import { expect, it } from "vitest";
import type { LinearSpec } from "../../src/models/family.ts";
import type { DeepseekConfig } from "../../src/models/deepseek_v2.ts";
import { findFamily } from "../../src/models/index.ts";
import { parseHeader } from "../../src/weights/safetensors.ts";
import { readGolden, rowSource, valuesOf, worstError } from "../engine/families.ts";
import { latentReference } from "../reference/latent.ts";
import { expertsReference, routeReference } from "../reference/moe.ts";
import { normReference } from "../reference/norm.ts";
import { ropeReference } from "../reference/rope.ts";
import { readBytes, readFixtureJson } from "../support/fixtures.ts";

const ROW = "deepseek_v3";

async function tensorsOf(file: string): Promise<Map<string, Float32Array>> {
  const bytes = await readBytes(`${rowSource(ROW)}/${file}`);
  const length = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
  const header = parseHeader(file, bytes.subarray(8, 8 + length), bytes.length);
  return new Map([...header].map(([name, info]) => [name, valuesOf(bytes, info)]));
}

/** The resident matrix of a role, [outFeatures, inFeatures], as its placements say. */
function assembled({ outFeatures, inFeatures, tensors }: LinearSpec, files: Map<string, Float32Array>): Float64Array {
  const matrix = new Float64Array(outFeatures * inFeatures);
  for (const { tensor, rows, firstRow, rowStep, fromRow = 0, fromColumn = 0, tensorColumns = inFeatures } of tensors) {
    for (let i = 0; i < rows; i++) {
      const from = (fromRow + i) * tensorColumns + fromColumn;
      matrix.set(files.get(tensor)!.subarray(from, from + inFeatures), (firstRow + i * rowStep) * inFeatures);
    }
  }
  return matrix;
}

const times = (matrix: Float64Array, x: ArrayLike<number>): number[] =>
  Array.from({ length: matrix.length / x.length }, (_, n) => {
    let sum = 0;
    for (let k = 0; k < x.length; k++) sum += matrix[n * x.length + k]! * x[k]!;
    return sum;
  });

it("predicts what transformers' module does", async () => {
  const { family, json } = findFamily(await readFixtureJson(`tests/fixtures/families/${ROW}/config.json`));
  const config = family.parseConfig(json) as DeepseekConfig;
  const { hiddenSize, vocabSize, heads, nope, ropeDim, valueDim, rank, queryRank, mixture: m, layers } = config;
  const [files, expected] = [await tensorsOf("model.safetensors"), await tensorsOf("golden.safetensors")];
  const table = family.weightTable(config);
  const linear = (role: string): Float64Array => assembled(table.get(role) as LinearSpec, files);
  const vector = (role: string): Float32Array => files.get((table.get(role) as { tensor: string }).tensor)!;
  const norm = (x: ArrayLike<number>, role: string, eps = config.normEps): number[] => [
    ...normReference(x, { kind: "rms", eps, gain: vector(role) }),
  ];
  const { ids, contextTokens } = await readGolden(ROW);
  const frequencies = family.ropes(config, contextTokens)[0]!.inverseFrequencies;
  const turned = (x: number[], position: number): number[] => [...ropeReference(x, position, frequencies, true)];
  const [embedding, head, join] = [linear("embed"), linear("head"), linear("predictor 0 join")];
  const [a, qB, kvB, o] = ["a", "q_b", "kv_b", "o"].map((role) => linear(`${layers}.${role}`));
  const [router, gateUp, down] = ["router", "experts_up", "experts_down"].map((role) => linear(`${layers}.${role}`));

  const latents: number[][] = [];
  const logits = ids.slice(1).flatMap((id, i) => {
    const position = i + 1;
    const hidden = expected.get("hidden")!.subarray(i * hiddenSize, (i + 1) * hiddenSize);
    const e = embedding.subarray(id * hiddenSize, (id + 1) * hiddenSize);
    const x = times(join, [...norm(e, "predictor 0 embed_norm"), ...norm(hidden, "predictor 0 hidden_norm")]);
    // Attention.
    const compressed = times(a!, norm(x, `${layers}.input_norm`));
    const latent = compressed.slice(queryRank!);
    latents.push([...norm(latent.slice(0, rank), `${layers}.kv_norm`, 1e-6), ...turned(latent.slice(rank), position)]);
    const q = times(qB!, norm(compressed.slice(0, queryRank!), `${layers}.q_norm`, 1e-6));
    const query = Array.from({ length: heads }, (_, h) => {
      const own = q.slice(h * (nope + ropeDim), (h + 1) * (nope + ropeDim));
      return [...own.slice(0, nope), ...turned(own.slice(nope), position)];
    }).flat();
    const shape = { heads, nope, ropeDim, valueDim, rank, scale: config.scale };
    const mixed = times(o!, latentReference({ ...shape, query, latents, kvB: kvB! }));
    const between = x.map((v, k) => v + mixed[k]!);
    // Experts, the shared one behind the others.
    const choices = routeReference(times(router!, norm(between, `${layers}.post_norm`)), {
      topK: m.topK,
      score: m.score,
      renormalise: m.renormalise!,
      bias: vector(`${layers}.router_bias`),
      groups: m.groups!,
      scale: m.scale!,
    });
    const made = expertsReference({
      x: between,
      hidden: hiddenSize,
      width: m.width,
      gateUp: gateUp!,
      down: down!,
      gate: "silu",
      norm: { gain: vector(`${layers}.post_norm`), eps: config.normEps },
      choices: [[...choices, { id: m.experts, weight: 1 }]],
      residual: between,
    });
    return times(head, norm(made, "predictor 0 norm"));
  });
  expect(worstError(Float32Array.from(logits), expected.get("predicted")!, vocabSize)).toBeLessThan(1e-5);
});
