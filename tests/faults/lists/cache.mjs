import { faultsOf } from "../fault.mjs";

export const cache = [
  ...faultsOf(
    "shaders/fragments/cache_store_f32.wgsl",
    ["tests/kernels/rope-write"],
    [["cache: f32 third element lost", "pool[at + 2u] = bits.z;", ""]],
  ),
  ...faultsOf(
    "shaders/fragments/cache_store_f16.wgsl",
    ["tests/kernels/rope-write"],
    [
      ["cache: f16 not clamped", "clamp(v, vec4f(-65504.0), vec4f(65504.0))", "v"],
      ["cache: f16 stores at elements, not words", "pool[at / 2u + 1u] =", "pool[at / 2u + 2u] ="],
    ],
  ),
  ...faultsOf(
    "shaders/fragments/cache_store_int8.wgsl",
    ["tests/kernels/rope-write"],
    [
      [
        "cache: int8 by the exact scale",
        "unpack2x16float(scale).x",
        "unpack2x16float(scale + 1u).x",
        { match: "int8" },
      ],
      ["cache: int8 not rounded", "select(vec4f(-0.5), vec4f(0.5), q >= vec4f(0.0))", "vec4f(0.0)", { match: "int8" }],
      ["cache: int8 rounded up", "select(vec4f(-0.5), vec4f(0.5), q >= vec4f(0.0))", "vec4f(0.5)", { match: "int8" }],
      [
        "cache: int8 not clamped",
        "clamp(v * inverse, vec4f(-127.0), vec4f(127.0))",
        "v * inverse",
        { match: "bit for bit" },
      ],
      [
        "cache: scale past f16's range",
        "min(top * (1.0 / 127.0), 65504.0)",
        "top * (1.0 / 127.0)",
        { match: "bit for bit" },
      ],
      ["cache: scale below f16's range", "if (scale < 0x1p-14)", "if (false)", { match: "bit for bit" }],
      ["cache: scale cut off, not rounded", " + 0xfffu + ((bits >> 13u) & 1u)", "", { match: "int8" }],
      ["cache: largest byte is 128", "top * (1.0 / 127.0)", "top * (1.0 / 128.0)", { match: "int8" }],
    ],
  ),
  ...faultsOf(
    "shaders/fragments/cache_f16.wgsl",
    ["tests/kernels/attention"],
    [
      [
        "cache: f16 words swapped",
        "unpack2x16float(words.x), unpack2x16float(words.y)",
        "unpack2x16float(words.y), unpack2x16float(words.x)",
        { match: "f16 .*1 after 64$" },
      ],
    ],
  ),
  ...faultsOf(
    "shaders/fragments/cache_f32.wgsl",
    ["tests/kernels/attention"],
    [["cache: f32 loads at elements, not vectors", "pool[at / 4u]", "pool[at / 2u]", { match: "f32 .*1 after 64$" }]],
  ),
  ...faultsOf(
    "shaders/fragments/cache_int8.wgsl",
    ["tests/kernels/attention"],
    [
      ["cache: int8 without a sign", "unpack4xI8(", "unpack4xU8(", { match: "int8 .*1 after 129" }],
      [
        "cache: scale of another entry",
        "params.scaleOffset + entry]",
        "params.scaleOffset]",
        { match: "int8 .*1 after 129" },
      ],
    ],
  ),
  ...faultsOf(
    "shaders/fragments/cache_tile_f16.wgsl",
    ["tests/kernels/attention"],
    [["cache: f16 tile loads at words", "pool[at / 4u]", "pool[at / 2u]", { match: "f16 .*15 after 31" }]],
  ),
  ...faultsOf(
    "shaders/fragments/pages.wgsl",
    ["tests/kernels/attention", "tests/kernels/rope-write"],
    [
      ["pages: shift one too many", "index >> PAGE_SHIFT", "index >> (PAGE_SHIFT + 1u)"],
      ["pages: table of another slot", "slot * params.pagesPerSequence + (", "("],
      [
        "pages: entry of a page halved",
        "index & (PAGE - 1u)",
        "index & (PAGE / 2u - 1u)",
        { match: "1 after 129, 3 pages" },
      ],
      [
        "pages: heads of a page overlap",
        "(page * KV_HEADS + head) * PAGE",
        "(page + head) * PAGE",
        { match: "1 after 129, 3 pages" },
      ],
    ],
  ),
];
