/** Tessera's side: a case of cases.mjs on our kernels, from input on the host to results on the host. */
import { numberToF16 } from "../../src/base/half.ts";
import { Usage } from "../../src/gpu/arena.ts";
import { openGpu, type Gpu } from "../../src/gpu/device.ts";
import { submit } from "../../src/gpu/pass.ts";
import { Readback } from "../../src/gpu/readback.ts";
import { Rehearsal, type Scene } from "../../src/engine/rehearsal.ts";
import { attention } from "../../src/kernels/attention.ts";
import type { CacheView, Range } from "../../src/kernels/batch.ts";
import type { Graph, Tensor } from "../../src/kernels/graph.ts";
import { linear } from "../../src/kernels/linear.ts";
import { tuningFor } from "../../src/kernels/tuning.ts";
import { rowWords } from "../../src/weights/quant/layout.ts";
import type { Case } from "./cases.mjs";

export interface Ours {
  /** Uploads the input, runs, and resolves with the result; without `read` once the GPU is done. */
  run(read: boolean): Promise<Float32Array | undefined>;
  readonly adapter: string;
  close(): void;
}

type Matmul = Extract<Case, { kind: "matmul" }>;
type Attention = Extract<Case, { kind: "attention" }>;

export async function ours(one: Case): Promise<Ours> {
  const gpu = await openGpu();
  return one.kind === "matmul" ? openMatmul(gpu, one) : openAttention(gpu, one);
}

async function openMatmul(gpu: Gpu, { shape, data }: Matmul): Promise<Ours> {
  const { bits, rows, inFeatures, outFeatures } = shape;
  const layout = bits === 4 ? "q4" : "q8";
  const weights = await upload(gpu, packRows(layout, data.q, data.scales, inFeatures, outFeatures));
  const part = { weights, rowStart: 0, rowCount: outFeatures };
  const layer = { name: "peer", inFeatures, outFeatures, layout, parts: [part] } as const;
  const segments = rows > 8 ? [{ rows, length: 0 }] : Array.from({ length: rows }, () => ({ rows: 1, length: 0 }));
  return open(gpu, { segments }, data.x, (graph) => {
    const x = graph.tensor("rows", inFeatures);
    return { x, y: linear(graph, x, layer) };
  });
}

/** Rows as weights/quant/grouped.ts lays them: integers, then the scales of the row in f16. */
function packRows(
  layout: "q4" | "q8",
  q: Int8Array,
  scales: Float32Array,
  columns: number,
  rows: number,
): Uint32Array<ArrayBuffer> {
  const stride = rowWords(layout, columns);
  const words = new Uint32Array(rows * stride);
  const integers = (columns * (layout === "q4" ? 4 : 8)) / 32;
  for (let n = 0; n < rows; n++) {
    const row = words.subarray(n * stride, (n + 1) * stride);
    for (let k = 0; k < columns; k++) {
      const value = q[n * columns + k]!;
      if (layout === "q8") row[k >> 2]! |= (value & 255) << (8 * (k & 3));
      else row[k >> 3]! |= (value + 8) << (8 * (k & 3) + 4 * ((k >> 2) & 1));
    }
    for (let g = 0; g < columns / 32; g++) {
      row[integers + (g >> 1)]! |= numberToF16(scales[n * (columns / 32) + g]!) << (16 * (g & 1));
    }
  }
  return words;
}

const PAGE = 64;

async function openAttention(gpu: Gpu, { shape, data }: Attention): Promise<Ours> {
  const { heads, kvHeads, headDim, past, rows } = shape;
  const total = past + rows;
  const pages = Math.ceil(total / PAGE);
  const elements = pages * PAGE * kvHeads * headDim;
  const pool = new Float32Array(2 * elements);
  for (let h = 0; h < kvHeads; h++) {
    for (let t = 0; t < total; t++) {
      // [page][head][token of the page][dim], keys before values
      const to = ((Math.floor(t / PAGE) * kvHeads + h) * PAGE + (t % PAGE)) * headDim;
      const from = (h * total + t) * headDim;
      pool.set(data.keys.subarray(from, from + headDim), to);
      pool.set(data.values.subarray(from, from + headDim), elements + to);
    }
  }
  const layer = { pool: await upload(gpu, pool), valueOffset: elements };
  const cache: CacheView = { kind: "kv", format: "f32", pageSize: PAGE, heads: kvHeads, headDim, layers: [layer] };
  return open(gpu, { segments: [{ rows, length: past }], pageSize: PAGE }, data.q, (graph) => {
    const x = graph.tensor("rows", heads * headDim);
    return { x, y: attention(graph, x, cache, 0, { scale: headDim ** -0.5 }) };
  });
}

async function upload(gpu: Gpu, words: Uint32Array<ArrayBuffer> | Float32Array<ArrayBuffer>): Promise<Range> {
  const buffer = await gpu.arena.allocate("weights", "peer", words.byteLength, Usage.storage | Usage.copyDst);
  gpu.queue.writeBuffer(buffer, 0, words);
  return { buffer, offset: 0, size: buffer.size };
}

async function open(
  gpu: Gpu,
  scene: Scene,
  input: Float32Array<ArrayBuffer>,
  draw: (graph: Graph) => { x: Tensor; y: Tensor },
): Promise<Ours> {
  const rehearsal = await Rehearsal.open(gpu, scene);
  const { programs, outputs } = await rehearsal.record(1, draw, tuningFor(gpu.info));
  const [x, y] = [outputs["x"]!, outputs["y"]!];
  const readback = await Readback.create(rehearsal.arena, "peer result", 1, y.size);
  return {
    adapter: gpu.info.description || `${gpu.info.vendor} ${gpu.info.architecture}`,
    run: async (read) => {
      gpu.queue.writeBuffer(x.buffer, x.offset, input);
      if (!read) {
        submit(gpu, programs);
        return void (await gpu.queue.onSubmittedWorkDone());
      }
      const pending = readback.take(y.buffer, y.size);
      submit(gpu, programs, [pending.copy]);
      return new Float32Array(await pending.read());
    },
    close: () => {
      rehearsal.close();
      gpu.close();
    },
  };
}
