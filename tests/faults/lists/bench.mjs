import { faultsOf, pure } from "../fault.mjs";

const work = ["tests/bench/model.test"];
const made = ["tests/bench/made"];
const run = ["tests/bench/model.node"];

/** The benches of whole models: what they make, count and say. */
export const bench = [
  ...faultsOf("src/bench/made.ts", made, [
    ["made: every tensor the same", "seed: mix(seed + this.tensors.length)", "seed: mix(seed)", pure],
    ["made: values by the place in the chunk", "mix(seed + first + i)", "mix(seed + i)", pure],
    [
      "made: a deviation of its own for none",
      "fill: { deviation: spec.inFeatures ** -0.5 }",
      "fill: { deviation: 0.02 }",
      pure,
    ],
    ["made: too narrow", "Math.sqrt(-2 * Math.log(", "Math.sqrt(-Math.log(", pure],
    ["made: an odd byte at the start lost", "subarray(skipped, skipped + to - from)", "subarray(0, to - from)", pure],
    ["made: gains of zero", 'name.endsWith("bias") ? 0 : 1', 'name.endsWith("bias") ? 1 : 0', pure],
    ["made: end tokens kept", 'delete config["eos_token_id"];', "", pure],
  ]),
  ...faultsOf("src/bench/model-work.ts", work, [
    ["model work: weights read by each row", "bytes * (1 - (1 - active) ** rows)", "bytes * rows", pure],
    ["model work: operations of all experts", "const flops = 2 * active *", "const flops = 2 *", pure],
    [
      "model work: bytes of all experts",
      "(spec.bias ? 4 : 0)), active });",
      "(spec.bias ? 4 : 0)), active: 1 });",
      pure,
    ],
    ["model work: head in every row of a prompt", "else flopsPerRow += flops;", "flopsPerRow += flops;", pure],
    ["model work: window ignored in decode", "Math.min(context + 1, window)", "context + 1", pure],
    ["model work: window ignored in prefill", "(tokens > window ? (tokens - window) * window : 0)", "0", pure],
    ["model work: a row does not see itself", "(growing * (growing + 1)) / 2", "(growing * (growing - 1)) / 2", pure],
    [
      "model work: one cache for all sequences",
      "kvBytes += sequences * bytes * seen;",
      "kvBytes += bytes * seen;",
      pure,
    ],
    ["model work: latents as heads", "2 * spec.rank + spec.ropeDim", "spec.rank + spec.ropeDim", pure],
  ]),
  ...faultsOf("src/bench/decode.ts", work, [
    [
      "decode bench: from the first one's first token",
      "Math.max(...times.map((t) => t[0]!))",
      "Math.min(...times.map((t) => t[0]!))",
      pure,
    ],
    [
      "decode bench: to the last one's last token",
      "Math.min(...times.map((t) => t.at(-1)!))",
      "Math.max(...times.map((t) => t.at(-1)!))",
      pure,
    ],
    ["decode bench: tokens, not intervals", "1000 * (inside.length - 1)", "1000 * inside.length", pure],
  ]),
  ...faultsOf("src/bench/decode.ts", run, [
    ["decode bench: counters of the last steps", "times[i]!.length === tokens - TAIL", "times[i]!.length === tokens"],
    [
      "decode bench: time of a token, not of a step",
      "const ms = (1000 * sequences) / rate;",
      "const ms = 1000 / rate;",
    ],
    ["decode bench: traffic of the first token", "context + tokens / 2, sequences", "context, sequences"],
  ]),
  ...faultsOf("src/bench/prefill.ts", run, [
    ["prefill bench: the same ids in each round", "seed + round)", "seed)"],
    ["prefill bench: the first run counted", "if (round === 0) continue;", ""],
  ]),
  ...faultsOf("src/bench/model-run.ts", run, [
    ["model bench: the engine is left", "await engine.dispose();", ""],
    ["model bench: published weights of a made model", '(made ? "q4" : "published")', '"published"'],
  ]),
];
