import { faultsOf } from "../fault.mjs";

export const repack = [
  ...faultsOf(
    "shaders/repack.wgsl",
    ["tests/kernels/repack"],
    [
      ["repack: bf16 halfway up", "bits + 0x7fffu + ((bits >> 16u) & 1u)", "bits + 0x8000u"],
      ["repack: NaN becomes infinite", "if ((bits & 0x7fffffffu) > 0x7f800000u) { return (bits >> 16u) | 0x40u; }", ""],
      ["repack: rows not spread", "params.firstRow + row * params.rowStep", "params.firstRow + row"],
      ["repack: first row ignored", "params.firstRow + row * params.rowStep", "row * params.rowStep"],
      ["repack: grid not folded", "id.z * groups.y + id.y", "id.y"],
    ],
  ),
  ...faultsOf(
    "shaders/fragments/staged.wgsl",
    ["tests/kernels/repack"],
    [
      ["staged: padding not zero", "if (column >= params.columns) { return 0u; }", ""],
      ["staged: halves swapped", "16u * (i & 1u)", "16u * (1u - (i & 1u))"],
      ["staged: f16 halfway up", "magnitude + 0xfffu + ((magnitude >> 13u) & 1u)", "magnitude + 0x1000u"],
      ["staged: f16 truncated", "magnitude + 0xfffu + ((magnitude >> 13u) & 1u)", "magnitude"],
      ["staged: subnormals flushed", "if (exponent < 102u)", "if (exponent < 113u)"],
      ["staged: subnormals not rounded to even", "rest == middle && (kept & 1u) == 1u", "rest == middle"],
      ["staged: subnormals one bit off", "countLeadingZeros(fraction) - 21u", "countLeadingZeros(fraction) - 22u"],
    ],
  ),
  ...faultsOf(
    "shaders/quantise.wgsl",
    ["tests/kernels/repack"],
    [
      ["quantise: guess not lowered", "i > 0.0 && magnitude < (i - 0.5) * scale", "false"],
      ["quantise: sign dropped", "select(i32(i), -i32(i), (bits & 0x80000000u) != 0u)", "i32(i)"],
      [
        "quantise: scale not rounded",
        "let scale = bitcast<f32>(widenF16(scaleBits));",
        "let scale = bitcast<f32>(step);",
      ],
      ["quantise: scale may be infinite", ", 0x7bffu)", ", 0x7c00u)"],
      ["quantise: nibbles in order", "8u * (i & 3u) + 4u * (i / 4u)", "4u * i"],
      ["quantise: second scale over the first", "16u * (i & 1u)", "0u"],
      ["quantise: groups past the last", "min(PER_LANE, count - first)", "PER_LANE"],
      ["quantise: zero points over each other", "made.y << (8u * i)", "made.y"],
      [
        "quantise: zero points over the scales",
        "scalesAt + (count + 1u) / 2u + first / 4u",
        "scalesAt + count / 2u + first / 4u",
      ],
      ["quantise: third scale lost", "weights[scalesAt + first / 2u + 1u] = scales.y;", ""],
      ["quantise: zero point not moved to the lowest", "zero = LOWEST + quantise(", "zero = quantise("],
      ["quantise: integers past the highest", "q = clamp(q, LOWEST, LOWEST + i32(LARGEST));", ""],
      ["quantise: range without zero", "if (ZEROS && (bits & 0x80000000u) != 0u)", "if (ZEROS && false)"],
      ["quantise: wide range overflows", "low = min(low, far);", ""],
      [
        "quantise: padding past a block",
        "min(first + GROUP, (params.columns + BLOCK - 1u) / BLOCK * BLOCK)",
        "first + GROUP",
      ],
    ],
  ),
];
