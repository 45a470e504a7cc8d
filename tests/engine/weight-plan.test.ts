/** Tensors matched with a family's table: what may be left out, what stays together, what is never rounded. */
import { describe, expect, it } from "vitest";
import { readCheckpoint } from "../../src/engine/inspect.ts";
import { planWeights, splitRows, type WeightPlan } from "../../src/engine/weight-plan.ts";
import type { LinearSpec } from "../../src/models/family.ts";
import { openRepo } from "../../src/store/repo.ts";
import type { WeightLayout } from "../../src/weights/quant/layout.ts";
import { rowSource } from "./families.ts";

async function planOf(row: string, weights?: WeightLayout & ("q8" | "q4" | "f16")): Promise<WeightPlan> {
  const repo = await openRepo(rowSource(row), {});
  return (await readCheckpoint(repo, weights ? { weights } : {})).plan;
}

const linearOf = (plan: WeightPlan, role: string): LinearSpec => {
  const spec = plan.table.get(role);
  if (spec?.kind !== "linear") throw new Error(`${role} is no matrix of this table`);
  return spec;
};

describe("what is optional", () => {
  it("is planned where the checkpoint has it: a module that predicts a further token", async () => {
    const plan = await planOf("deepseek_v3");
    const { hiddenSize } = { hiddenSize: 32 };
    expect(linearOf(plan, "predictor 0 join")).toMatchObject({ inFeatures: 2 * hiddenSize, outFeatures: hiddenSize });
    const names = ["embed_norm", "hidden_norm", "norm"].map((name) => `predictor 0 ${name}`);
    for (const role of [...names, "3.a", "3.q_b", "3.kv_b", "3.o", "3.router", "3.experts_up", "3.experts_down"]) {
      expect([role, plan.table.has(role)]).toEqual([role, true]);
    }
    // None of it is multiplied with in a forward.
    expect(linearOf(plan, "3.experts_up").active).toBe(0);
  });

  it("is left out where the checkpoint has none of it, though its config.json speaks of it", async () => {
    const plan = await planOf("deepseek_v3-halves");
    expect([...plan.table.keys()].filter((role) => role.startsWith("predictor") || role.startsWith("2."))).toEqual([]);
  });

  it("is called for as a whole where a part is there", async () => {
    const { table, checkpoint } = await planOf("deepseek_v3");
    const missing = "model.layers.3.eh_proj.weight";
    const tensors = new Map([...checkpoint.tensors].filter(([name]) => name !== missing));
    expect(() => planWeights(table, { ...checkpoint, tensors }, "published")).toThrow(missing);
  });
});

describe("layouts", () => {
  it.each(["q8", "q4", "f16"] as const)("keep routers in f32 under %s", async (weights) => {
    const plan = await planOf("qwen2_moe", weights);
    expect([plan.layouts.get("0.router"), plan.layouts.get("0.experts_up"), plan.layouts.get("0.qkv")]).toEqual([
      "f32",
      weights,
      weights,
    ]);
  });
});

describe("parts", () => {
  const spec: LinearSpec = { kind: "linear", outFeatures: 96, inFeatures: 32, tensors: [], unit: 24 };

  it("hold whole units", () => {
    const rowBytes = 32 * 2;
    const whole = (maxBinding: number): number[] => splitRows(spec, "f16", maxBinding).map((part) => part.rowCount);
    expect(whole(96 * rowBytes)).toEqual([96]);
    expect(whole(95 * rowBytes)).toEqual([72, 24]);
    expect(whole(24 * rowBytes)).toEqual([24, 24, 24, 24]);
  });

  it("are refused where a unit does not fit", () => {
    const tensors = [{ tensor: "experts", rows: 96, firstRow: 0, rowStep: 1 }];
    const split = (): unknown => splitRows({ ...spec, tensors }, "f16", 24 * 64 - 1);
    expect(split).toThrow('tensor "experts": has 24 rows that stay together, of 64 bytes each');
  });
});
