import { faultsOf } from "../fault.mjs";

export const cache = [
  ...faultsOf(
    "shaders/fragments/cache_store_f16.wgsl",
    ["tests/kernels/rope-write"],
    [["cache: f16 not clamped", "clamp(v, vec2f(-65504.0), vec2f(65504.0))", "v"]],
  ),
  ...faultsOf(
    "shaders/fragments/cache_f16.wgsl",
    ["tests/kernels/attention"],
    [
      [
        "cache: f16 words swapped",
        "pool[at / 2u]), unpack2x16float(pool[at / 2u + 1u])",
        "pool[at / 2u + 1u]), unpack2x16float(pool[at / 2u])",
      ],
    ],
  ),
  ...faultsOf(
    "shaders/fragments/pages.wgsl",
    ["tests/kernels/attention", "tests/kernels/rope-write"],
    [
      ["pages: shift one too many", "index >> PAGE_SHIFT", "index >> (PAGE_SHIFT + 1u)"],
      ["pages: table of another slot", "slot * params.pagesPerSequence + (", "("],
      ["pages: entry of a page halved", "index & (PAGE - 1u)", "index & (PAGE / 2u - 1u)"],
      ["pages: heads of a page overlap", "(page * KV_HEADS + head) * PAGE", "(page + head) * PAGE"],
    ],
  ),
];
