/** A whole decoder twice from the same random weights: loaded into Tessera's engine, and as an ONNX graph. */
import type { ByteFile } from "../../src/base/bytes.ts";
import { bf16ToNumber, f16ToNumber } from "../../src/base/half.ts";
import { madeRepo } from "../../src/bench/made.ts";
import { freshIds } from "../../src/bench/model-run.ts";
import { findShape } from "../../src/bench/models.ts";
import { rested } from "../../src/bench/rest.ts";
import type { InProcessEngine } from "../../src/engine/engine.ts";
import { loadRepo } from "../../src/engine/load.ts";
import { isSoftware } from "../../src/engine/tune.ts";
import { dequantiseRow, GROUPED, integerWords, quantiseRow } from "../../src/weights/quant/grouped.ts";
import { readHeader, type TensorInfo } from "../../src/weights/safetensors.ts";
import { FLOAT, graphOf, INT32, INT64, UINT8, type Constant, type Node, type Value } from "./onnx.mjs";

export interface DecoderShape {
  readonly layers: number;
  readonly hidden: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly intermediate: number;
  readonly vocab: number;
  readonly theta: number;
  readonly eps: number;
}

export interface DecoderOptions {
  /** Name of a shape in src/bench/models.ts, of the Llama form with a tied head. */
  readonly shape: string;
  /** Longest sequence that either side will see. */
  readonly contextTokens: number;
}

/** Bits of the head, and so of the embeddings it is tied to: what our q4 loads keep for them. */
const HEAD = "q8";

/** Our side. Its cache is in f32, as theirs is, so that the answers can be compared. */
export function openOurs({ shape, contextTokens }: DecoderOptions): Promise<InProcessEngine> {
  return loadRepo(madeRepo(findShape(shape)), { weights: "q4", kv: "f32", contextTokens });
}

/** What the comparison needs of our sources, wherever it runs. */
export const tools = (engine: InProcessEngine): object => ({
  freshIds,
  rested,
  software: isSoftware(engine.gpu.info),
});

export function shapeOf(name: string): DecoderShape {
  const { config } = findShape(name);
  const number = (field: string): number => config[field] as number;
  return {
    layers: number("num_hidden_layers"),
    hidden: number("hidden_size"),
    heads: number("num_attention_heads"),
    kvHeads: number("num_key_value_heads"),
    headDim: number("head_dim"),
    intermediate: number("intermediate_size"),
    vocab: number("vocab_size"),
    theta: number("rope_theta"),
    eps: (config["rms_norm_eps"] as number | undefined) ?? 1e-6,
  };
}

/**
 * Their side, as onnxruntime-genai builds such a model: MatMulNBits with 32 weights to a scale, GroupQueryAttention that
 * rotates, SkipSimplifiedLayerNormalization. Logits of the last row only. Inputs: input_ids, seqlens_k, total_len, and
 * L<i>.pk, L<i>.pv [1, kvHeads, past, headDim]; outputs: logits and L<i>.nk, L<i>.nv.
 */
export async function onnxDecoder({ shape: name, contextTokens }: DecoderOptions): Promise<Uint8Array> {
  const shape = shapeOf(name);
  const weights = await Weights.open(name);
  const { layers, hidden, heads, kvHeads, headDim, intermediate, vocab } = shape;
  const nodes: Node[] = [];
  const constants: Constant[] = [...rotaryTables(shape, contextTokens)];
  const inputs: Value[] = [
    ["input_ids", INT64, [1, "S"]],
    ["seqlens_k", INT32, [1]],
    ["total_len", INT32, [1]],
  ];
  const outputs: Value[] = [["logits", FLOAT, [1, 1, vocab]]];

  const linear = async (x: string, y: string, tensor: string, K: number, N: number, head = false): Promise<void> => {
    const format = head ? HEAD : "q4";
    const { bits } = GROUPED[format];
    const packed = await weights.packed(tensor, format, K, N);
    constants.push([`${y}.w`, UINT8, [N, K / 32, (32 * bits) / 8], packed.integers]);
    constants.push([`${y}.s`, FLOAT, [(N * K) / 32], bytesOf(packed.scales)]);
    const attributes = { K, N, bits, block_size: 32 };
    nodes.push({ op: "MatMulNBits", inputs: [x, `${y}.w`, `${y}.s`], outputs: [y], attributes });
  };
  const norm = (gain: string): string => {
    constants.push([gain, FLOAT, [hidden], bytesOf(new Float32Array(hidden).fill(1))]);
    return gain;
  };
  const skipNorm = (x: string, delta: string, y: string, sum: string): void => {
    const attributes = { epsilon: { float: shape.eps } };
    const names = { inputs: [x, delta, norm(`${y}.g`)], outputs: [y, "", "", sum] };
    nodes.push({ op: "SkipSimplifiedLayerNormalization", ...names, attributes });
  };

  constants.push(["embed", FLOAT, [vocab, hidden], bytesOf(await weights.unpacked(EMBED, HEAD, hidden, vocab))]);
  nodes.push({ op: "Gather", inputs: ["embed", "input_ids"], outputs: ["x"], attributes: { axis: 0 } });
  nodes.push({
    op: "SimplifiedLayerNormalization",
    inputs: ["x", norm("first.g")],
    outputs: ["L0.in"],
    attributes: { axis: 2, epsilon: { float: shape.eps } },
  });
  let x = "x";
  for (let i = 0; i < layers; i++) {
    const [p, module] = [`L${i}.`, `model.layers.${i}.`];
    if (i > 0) {
      skipNorm(x, `L${i - 1}.down`, `${p}in`, `${p}x`);
      x = `${p}x`;
    }
    const attention = `${module}self_attn.`;
    await linear(`${p}in`, `${p}q`, `${attention}q_proj.weight`, hidden, heads * headDim);
    await linear(`${p}in`, `${p}k`, `${attention}k_proj.weight`, hidden, kvHeads * headDim);
    await linear(`${p}in`, `${p}v`, `${attention}v_proj.weight`, hidden, kvHeads * headDim);
    inputs.push([`${p}pk`, FLOAT, [1, kvHeads, "P", headDim]], [`${p}pv`, FLOAT, [1, kvHeads, "P", headDim]]);
    outputs.push([`${p}nk`, FLOAT, [1, kvHeads, "T", headDim]], [`${p}nv`, FLOAT, [1, kvHeads, "T", headDim]]);
    const seen = [`${p}q`, `${p}k`, `${p}v`, `${p}pk`, `${p}pv`, "seqlens_k", "total_len", "cos", "sin"];
    const grouped = { num_heads: heads, kv_num_heads: kvHeads, do_rotary: 1, scale: { float: headDim ** -0.5 } };
    nodes.push({
      op: "GroupQueryAttention",
      inputs: seen,
      outputs: [`${p}a`, `${p}nk`, `${p}nv`],
      attributes: grouped,
    });
    await linear(`${p}a`, `${p}o`, `${attention}o_proj.weight`, heads * headDim, hidden);
    skipNorm(x, `${p}o`, `${p}mid`, `${p}y`);
    x = `${p}y`;
    await linear(`${p}mid`, `${p}gate`, `${module}mlp.gate_proj.weight`, hidden, intermediate);
    await linear(`${p}mid`, `${p}up`, `${module}mlp.up_proj.weight`, hidden, intermediate);
    nodes.push({ op: "Sigmoid", inputs: [`${p}gate`], outputs: [`${p}sigmoid`] });
    nodes.push({ op: "Mul", inputs: [`${p}gate`, `${p}sigmoid`], outputs: [`${p}silu`] });
    nodes.push({ op: "Mul", inputs: [`${p}silu`, `${p}up`], outputs: [`${p}gated`] });
    await linear(`${p}gated`, `${p}down`, `${module}mlp.down_proj.weight`, intermediate, hidden);
  }
  skipNorm(x, `L${layers - 1}.down`, "final", "");
  constants.push(["last", INT64, [1], bytesOf(new BigInt64Array([-1n]))]);
  nodes.push({ op: "Gather", inputs: ["final", "last"], outputs: ["final.last"], attributes: { axis: 1 } });
  await linear("final.last", "logits", EMBED, hidden, vocab, true);
  return graphOf({ nodes, inputs, constants, outputs });
}

const EMBED = "model.embed_tokens.weight";

function bytesOf(view: ArrayBufferView): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}

/** cos and sin of every position, [contextTokens, headDim / 2]. */
function rotaryTables({ headDim, theta }: DecoderShape, contextTokens: number): Constant[] {
  const half = headDim / 2;
  const table = (f: (angle: number) => number): Float32Array =>
    Float32Array.from({ length: contextTokens * half }, (_, i) =>
      f(Math.floor(i / half) * theta ** (-(i % half) / half)),
    );
  return [
    ["cos", FLOAT, [contextTokens, half], bytesOf(table(Math.cos))],
    ["sin", FLOAT, [contextTokens, half], bytesOf(table(Math.sin))],
  ];
}

/** The made checkpoint's tensors, quantised on the CPU to the bits that our load makes of them. */
class Weights {
  private constructor(
    private readonly file: ByteFile,
    private readonly tensors: ReadonlyMap<string, TensorInfo>,
  ) {}

  static async open(shape: string): Promise<Weights> {
    const file = (await madeRepo(findShape(shape)).open("model.safetensors"))!;
    const tensors = await readHeader(file);
    return new Weights(file, new Map([...tensors.values()].map((tensor) => [tensor.name, tensor])));
  }

  /** As MatMulNBits takes them: unsigned integers, the even element of a pair in the low nibble. */
  async packed(
    tensor: string,
    format: "q4" | "q8",
    K: number,
    N: number,
  ): Promise<{ integers: Uint8Array; scales: Float32Array }> {
    const { bits } = GROUPED[format];
    const rowBytes = (K * bits) / 8;
    const integers = new Uint8Array(N * rowBytes);
    const scales = new Float32Array((N * K) / 32);
    const scalesAt = integerWords(format, K);
    await this.rows(tensor, K, (row, n) => {
      const words = quantiseRow(format, row);
      const to = integers.subarray(n * rowBytes, (n + 1) * rowBytes);
      if (bits === 8) for (let k = 0; k < K; k++) to[k] = ((words[k >> 2]! >>> (8 * (k & 3))) + 128) & 255;
      else for (let k = 0; k < K; k += 2) to[k >> 1] = nibble(words, k) | (nibble(words, k + 1) << 4);
      for (let g = 0; g < K / 32; g++) {
        scales[(n * K) / 32 + g] = f16ToNumber((words[scalesAt + (g >> 1)]! >>> (16 * (g & 1))) & 0xffff);
      }
    });
    return { integers, scales };
  }

  /** The same numbers in f32. */
  async unpacked(tensor: string, format: "q4" | "q8", K: number, N: number): Promise<Float32Array> {
    const values = new Float32Array(N * K);
    await this.rows(tensor, K, (row, n) => values.set(dequantiseRow(format, quantiseRow(format, row), K), n * K));
    return values;
  }

  private async rows(name: string, K: number, each: (row: Float32Array, n: number) => void): Promise<void> {
    const { begin, end } = this.tensors.get(name)!;
    const bytes = await this.file.read(begin, end);
    const words = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2);
    const row = new Float32Array(K);
    for (let n = 0; n * K < words.length; n++) {
      for (let k = 0; k < K; k++) row[k] = bf16ToNumber(words[n * K + k]!);
      each(row, n);
    }
  }
}

/** Element k of a 4-bit row as it is stored, q + 8. */
function nibble(words: Uint32Array, k: number): number {
  return (words[k >> 3]! >>> (8 * (k & 3) + 4 * ((k >> 2) & 1))) & 15;
}
