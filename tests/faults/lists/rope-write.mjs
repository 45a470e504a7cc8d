import { faultsOf } from "../fault.mjs";

export const rope = faultsOf(
  "shaders/rope_write.wgsl",
  ["tests/kernels/rope-write"],
  [
    ["rope: sign of the sine", "a * cosine - b * sine", "a * cosine + b * sine"],
    ["rope: pairs are neighbours, not halves", "select(e0 + 2u, e0 + half, rotates)", "e0 + 2u"],
    ["rope: halves swapped", "b = b * cosine + a * sine;", "b = a * cosine + b * sine;"],
    ["rope: far table ignored", "far[(position >> 8u) * half + e]", "far[e]"],
    ["rope: near table one bit short", "position & 255u", "position & 127u"],
    ["rope: position is the length", "states[slot].position + row.offset", "states[slot].length + row.offset"],
    ["rope: offset of the row dropped", "states[slot].position + row.offset", "states[slot].position"],
    ["rope: values rotate", "if (rotates && !isValue)", "if (rotates)"],
    ["rope: values over keys", "select(0u, params.valueOffset, isValue)", "0u"],
    ["rope: cache index is the position", "states[slot].length + row.offset", "states[slot].position + row.offset"],
    ["rope: cache index without the row's offset", "states[slot].length + row.offset", "states[slot].length"],
    ["rope: values of the wrong head", "select(head - HEADS, head - HEADS - KV_HEADS, isValue)", "(head - HEADS) % 1u"],
    ["rope: rows past the batch written", "m >= batch.rows || ", ""],
  ],
);
