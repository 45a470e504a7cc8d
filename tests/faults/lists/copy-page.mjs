import { faultsOf } from "../fault.mjs";

export const copy = [
  ...faultsOf(
    "shaders/copy_page.wgsl",
    ["tests/kernels/copy-page"],
    [
      ["copy: one copy too many", "id.y >= batch.copies", "id.y > batch.copies"],
      ["copy: words past the page", "id.x >= valuesEnd + params.scaleWords", "false"],
      ["copy: values with the keys' stride", "pageWords = params.valueWords;", ""],
      ["copy: scales with the keys' stride", "pageWords = params.scaleWords;", ""],
      ["copy: values over the keys", "start = params.valueStart;", ""],
      ["copy: scales left behind", "valuesEnd + params.scaleWords", "valuesEnd"],
      ["copy: first value taken for a key", "id.x >= params.keyWords)", "id.x > params.keyWords)"],
      ["copy: from target to source", "pool[pair.y] = pool[pair.x];", "pool[pair.x] = pool[pair.y];"],
    ],
  ),
  ...faultsOf(
    "src/kernels/pages.ts",
    ["tests/kernels/copy-page"],
    [
      ["copy: values at an element, not a word", "valueStart: valueOffset / perWord", "valueStart: valueOffset"],
      [
        "copy: values as wide as keys",
        "(pageSize * heads * valueDim) / perWord",
        "(pageSize * heads * headDim) / perWord",
      ],
    ],
  ),
];
