/**
 * Weights quantised while they stream. The reference is the same checkpoint whose matrices were quantised and brought back
 * on the CPU, and loaded as f32: if one integer or one scale on the GPU were another, its logits would differ.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bf16ToNumber, f16ToNumber } from "../../src/base/half.ts";
import type { InProcessEngine } from "../../src/engine/engine.ts";
import { dequantiseRow, quantiseRow, type GroupedFormat } from "../../src/weights/quant/grouped.ts";
import { parseHeader, type TensorInfo } from "../../src/weights/safetensors.ts";
import { encodeSafetensors } from "../../src/weights/write.ts";
import { fixtureSource } from "../support/fixtures.ts";
import { memoryRepo } from "../support/memory.ts";
import { filesOf, load, loadFiles } from "./checkpoints.ts";

const CHECKPOINTS = ["untied-f32", "bias-f16", "odd-bf16"];
const SENSITIVE = /embed_tokens|lm_head/;

function valuesOf(file: Uint8Array, { dtype, begin, end }: TensorInfo): Float32Array {
  const bytes = file.slice(begin, end);
  if (dtype === "F32") return new Float32Array(bytes.buffer);
  return Float32Array.from(new Uint16Array(bytes.buffer), dtype === "F16" ? f16ToNumber : bf16ToNumber);
}

/** The checkpoint as f32, its matrices rounded as the loader is to round them. */
function rounded(files: Record<string, Uint8Array>, format: GroupedFormat): Record<string, Uint8Array> {
  const file = files["model.safetensors"]!;
  const length = Number(new DataView(file.buffer, file.byteOffset).getBigUint64(0, true));
  const tensors = [...parseHeader("model.safetensors", file.subarray(8, 8 + length), file.length).values()];
  const encoded = tensors.map((tensor) => {
    const values = valuesOf(file, tensor);
    const layout = SENSITIVE.test(tensor.name) ? (format === "q4" ? "q8" : null) : format;
    const columns = tensor.shape[1];
    if (columns && layout) {
      for (let at = 0; at < values.length; at += columns) {
        const row = values.subarray(at, at + columns);
        row.set(dequantiseRow(layout, quantiseRow(layout, row), columns));
      }
    }
    return { name: tensor.name, dtype: "F32" as const, shape: tensor.shape, data: new Uint8Array(values.buffer) };
  });
  return { ...files, "model.safetensors": encodeSafetensors(encoded) };
}

describe.each(CHECKPOINTS.flatMap((name) => [[name, "q8"] as const, [name, "q4"] as const]))(
  "%s as %s",
  (name, weights) => {
    let engine: InProcessEngine;
    let reference: InProcessEngine;
    const ids = [1, 7, 30, 99, 12, 45, 3, 64, 101, 8, 77, 20];

    beforeAll(async () => {
      const source = fixtureSource(`tests/fixtures/llama/${name}`);
      engine = await load(source, { weights });
      reference = await loadFiles(memoryRepo(rounded(await filesOf(source), weights)));
    });
    afterAll(() => Promise.all([engine.dispose(), reference.dispose()]));

    it("has the logits of the same rounding on the CPU", async () => {
      const [got, expected] = [await engine.logits(ids, "all"), await reference.logits(ids, "all")];
      expect(got.reduce((worst, x, i) => Math.max(worst, Math.abs(x - expected[i]!)), 0)).toBeLessThan(2e-5);
    });

    it("says what was done, and takes fewer bytes", () => {
      const { weights: got } = engine.info;
      expect(got.format).toBe(weights);
      expect(got.reason).toMatch(/as asked for; embeddings and head keep/);
      expect(got.bytes).toBeLessThan(reference.info.weights.bytes * (weights === "q8" ? 0.7 : 0.5));
    });
  },
);
