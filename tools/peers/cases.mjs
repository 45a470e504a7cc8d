// The same operation three times: as an ONNX graph, as data for Tessera's kernels (ours.ts), and in float64 on the CPU. All from the
// same random numbers, so that three results can be compared.
import { FLOAT, INT32, UINT8, modelOf } from "./onnx.mjs";

/** Repeatable (mulberry32): uniform in [−1, 1). @param {number} seed */
function random(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 31 - 1;
  };
}

/** @param {number} n @param {() => number} next */
const floats = (n, next) => Float32Array.from({ length: n }, next);

/** @param {ArrayBufferView} view */
const bytesOf = (view) => new Uint8Array(view.buffer, view.byteOffset, view.byteLength);

/**
 * y = x · Wᵀ, weights of 4 or 8 bits, 32 to a scale.
 * @param {{ bits: 4 | 8, rows: number, inFeatures: number, outFeatures: number }} shape
 */
export function matmul({ bits, rows, inFeatures, outFeatures }) {
  const next = random(bits * 1000 + rows);
  const groups = inFeatures / 32;
  const largest = bits === 4 ? 7 : 127;
  const q = Int8Array.from({ length: outFeatures * inFeatures }, () => Math.round(next() * largest));
  // Eight bits of mantissa are exact in f16, which is how ours are stored.
  const scale = () => roundToBits((1.5 + 0.5 * next()) / (largest * 64), 8);
  const scales = Float32Array.from({ length: outFeatures * groups }, scale);
  const x = floats(rows * inFeatures, next);
  const packed = new Uint8Array((q.length * bits) / 8);
  q.forEach((value, k) => {
    if (bits === 8) packed[k] = value + 128;
    else packed[k >> 1] |= (value + 8) << (4 * (k & 1));
  });
  const blob = (32 * bits) / 8;
  return {
    name: `matmul q${bits} ${outFeatures}×${inFeatures} M=${rows}`,
    kind: /** @type {const} */ ("matmul"),
    shape: { bits, rows, inFeatures, outFeatures },
    data: { q, scales, x },
    model: modelOf({
      op: "MatMulNBits",
      attributes: { K: inFeatures, N: outFeatures, bits, block_size: 32 },
      inputs: [["x", FLOAT, [1, rows, inFeatures]]],
      constants: [
        ["w", UINT8, [outFeatures, groups, blob], packed],
        ["s", FLOAT, [outFeatures * groups], bytesOf(scales)],
      ],
      outputs: [["y", FLOAT, [1, rows, outFeatures]]],
    }),
    feeds: { x: { type: "float32", data: x, dims: [1, rows, inFeatures] } },
    reference: () => {
      const w = new Float64Array(q.length);
      for (let k = 0; k < q.length; k++) w[k] = q[k] * scales[Math.floor(k / 32)];
      const y = new Float64Array(rows * outFeatures);
      for (let m = 0; m < rows; m++) {
        for (let n = 0; n < outFeatures; n++) {
          let sum = 0;
          for (let k = 0; k < inFeatures; k++) sum += x[m * inFeatures + k] * w[n * inFeatures + k];
          y[m * outFeatures + n] = sum;
        }
      }
      return y;
    },
  };
}

/** @param {number} value @param {number} bits of its mantissa */
function roundToBits(value, bits) {
  const step = 2 ** (Math.floor(Math.log2(value)) - bits + 1);
  return Math.round(value / step) * step;
}

/**
 * Causal attention of `rows` new tokens over `past` cached ones, groups of query heads sharing keys and values.
 * @param {{ heads: number, kvHeads: number, headDim: number, past: number, rows: number }} shape
 */
export function attention({ heads, kvHeads, headDim, past, rows }) {
  const next = random(past * 10 + rows);
  const total = past + rows;
  const q = floats(rows * heads * headDim, next);
  // [head][token][dim], the new tokens last
  const [keys, values] = [floats(kvHeads * total * headDim, next), floats(kvHeads * total * headDim, next)];
  const cut = (/** @type {Float32Array} */ all, /** @type {number} */ from, /** @type {number} */ to) => {
    const part = new Float32Array(kvHeads * (to - from) * headDim);
    for (let h = 0; h < kvHeads; h++) {
      part.set(all.subarray((h * total + from) * headDim, (h * total + to) * headDim), h * (to - from) * headDim);
    }
    return part;
  };
  /** [token][head][dim] of the new ones, as the operator wants them */
  const fresh = (/** @type {Float32Array} */ all) => {
    const part = new Float32Array(rows * kvHeads * headDim);
    for (let h = 0; h < kvHeads; h++) {
      for (let t = 0; t < rows; t++) {
        part.set(
          all.subarray((h * total + past + t) * headDim, (h * total + past + t + 1) * headDim),
          (t * kvHeads + h) * headDim,
        );
      }
    }
    return part;
  };
  const tensor = (/** @type {Float32Array} */ data, /** @type {number[]} */ dims) => ({ type: "float32", data, dims });
  const scale = headDim ** -0.5;
  return {
    name: `attention ${heads}/${kvHeads} heads of ${headDim}, ${past} past, M=${rows}`,
    kind: /** @type {const} */ ("attention"),
    shape: { heads, kvHeads, headDim, past, rows },
    data: { q, keys, values },
    model: modelOf({
      op: "GroupQueryAttention",
      attributes: { num_heads: heads, kv_num_heads: kvHeads, scale: { float: scale } },
      inputs: [
        ["q", FLOAT, [1, "S", heads * headDim]],
        ["k", FLOAT, [1, "S", kvHeads * headDim]],
        ["v", FLOAT, [1, "S", kvHeads * headDim]],
        ["pk", FLOAT, [1, kvHeads, "P", headDim]],
        ["pv", FLOAT, [1, kvHeads, "P", headDim]],
        ["seqlens", INT32, [1]],
        ["total", INT32, [1]],
      ],
      constants: [],
      outputs: [
        ["y", FLOAT, [1, "S", heads * headDim]],
        ["nk", FLOAT, [1, kvHeads, "T", headDim]],
        ["nv", FLOAT, [1, kvHeads, "T", headDim]],
      ],
    }),
    feeds: {
      q: tensor(q, [1, rows, heads * headDim]),
      k: tensor(fresh(keys), [1, rows, kvHeads * headDim]),
      v: tensor(fresh(values), [1, rows, kvHeads * headDim]),
      pk: tensor(cut(keys, 0, past), [1, kvHeads, past, headDim]),
      pv: tensor(cut(values, 0, past), [1, kvHeads, past, headDim]),
      seqlens: { type: "int32", data: new Int32Array([total - 1]), dims: [1] },
      total: { type: "int32", data: new Int32Array([total]), dims: [1] },
    },
    reference: () => {
      const y = new Float64Array(rows * heads * headDim);
      for (let t = 0; t < rows; t++) {
        for (let h = 0; h < heads; h++) {
          const kv = Math.floor((h * kvHeads) / heads) * total;
          const seen = past + t + 1;
          const at = (t * heads + h) * headDim;
          const scores = new Float64Array(seen);
          for (let i = 0; i < seen; i++) {
            for (let d = 0; d < headDim; d++) scores[i] += q[at + d] * keys[(kv + i) * headDim + d];
            scores[i] *= scale;
          }
          const top = scores.reduce((a, b) => Math.max(a, b), -Infinity);
          let sum = 0;
          for (let i = 0; i < seen; i++) sum += scores[i] = Math.exp(scores[i] - top);
          for (let i = 0; i < seen; i++) {
            for (let d = 0; d < headDim; d++) y[at + d] += (scores[i] / sum) * values[(kv + i) * headDim + d];
          }
        }
      }
      return y;
    },
  };
}

/** @typedef {ReturnType<typeof matmul> | ReturnType<typeof attention>} Case */

/** @param {boolean} small for software devices in a browser @returns {Case[]} */
export function allCases(small = false) {
  const square = { inFeatures: small ? 1024 : 2048, outFeatures: small ? 1024 : 2048 };
  const heads = { heads: 16, kvHeads: 4, headDim: 64 };
  return [
    matmul({ bits: 4, rows: 1, ...square }),
    matmul({ bits: 8, rows: 1, ...square }),
    matmul({ bits: 4, rows: small ? 32 : 128, ...square }),
    matmul({ bits: 8, rows: small ? 32 : 128, ...square }),
    attention({ ...heads, past: 1024, rows: 1 }),
    attention({ ...heads, past: 0, rows: small ? 64 : 256 }),
  ];
}

/** Σ (a − b)² / Σ b². @param {ArrayLike<number>} actual @param {Float64Array} expected */
export function nmse(actual, expected) {
  let [error, power] = [0, 0];
  for (let i = 0; i < expected.length; i++) {
    error += (actual[i] - expected[i]) ** 2;
    power += expected[i] ** 2;
  }
  return actual.length === expected.length ? error / power : NaN;
}

/** @param {number[]} values */
export const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1];

/**
 * Ours and theirs in turn (ABBA), each from fresh input to results that can be read.
 * @param {() => Promise<unknown>} ours @param {() => Promise<unknown>} theirs @param {number} rounds
 */
export async function interleave(ours, theirs, rounds) {
  const times = { ours: /** @type {number[]} */ ([]), theirs: /** @type {number[]} */ ([]) };
  const timed = async (/** @type {() => Promise<unknown>} */ run) => {
    const begun = performance.now();
    await run();
    return performance.now() - begun;
  };
  for (let i = 0; i < 3; i++) await ours().then(theirs);
  for (let i = 0; i < rounds; i++) {
    times.ours.push(await timed(ours));
    times.theirs.push(await timed(theirs));
    times.theirs.push(await timed(theirs));
    times.ours.push(await timed(ours));
  }
  return { ours: median(times.ours), theirs: median(times.theirs) };
}

/** What a right result is off by at most: f32 sums of f32 products. */
export const BOUND = 1e-6;

/** @param {{ name: string, ours: number, theirs: number, oursError: number, theirsError: number }} row */
export function line({ name, ours, theirs, oursError, theirsError }) {
  const verdict = (/** @type {number} */ error) => `${error < BOUND ? "right" : "WRONG"} (${error.toExponential(1)})`;
  const ratio =
    oursError < BOUND && theirsError < BOUND ? (theirs / ours).toFixed(2) : `(${(theirs / ours).toFixed(2)})`;
  return [
    name.padEnd(52),
    ratio.padStart(8),
    `${ours.toFixed(1)} / ${theirs.toFixed(1)} ms`,
    `ours ${verdict(oursError)}`.padEnd(24),
    `theirs ${verdict(theirsError)}`,
  ].join("  ");
}

export const HEAD =
  "theirs / ours: above 1 ours takes less time; in brackets where a result is wrong. Errors are NMSE against float64.";
