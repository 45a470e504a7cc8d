// A whole decoder on both sides, in turn: what is run, timed and compared, in Node and in a page.
import { median, nmse } from "./cases.mjs";

/** What a right answer is off by at most: 4-bit weights and caches hold the same numbers on both sides, sums are f32. */
const BOUND = 1e-6;

/** onnxruntime's side: one session, and caches that go in and come out of it. */
export class Theirs {
  /**
   * @param {any} ort @param {Uint8Array} model @param {import("./decoder.ts").DecoderShape} shape
   * @param {object} options of the session; with `preferredOutputLocation` the cache stays on the GPU
   */
  static async open(ort, model, shape, options) {
    const theirs = new Theirs();
    theirs.ort = ort;
    theirs.shape = shape;
    theirs.session = await ort.InferenceSession.create(model, { logSeverityLevel: 3, ...options });
    return theirs;
  }

  /** A cache without entries. */
  empty() {
    const { kvHeads, headDim, layers } = this.shape;
    const none = () => new this.ort.Tensor("float32", new Float32Array(0), [1, kvHeads, 0, headDim]);
    return Array.from({ length: layers }, () => ({ k: none(), v: none() }));
  }

  /** Logits of the last of `ids` behind what is cached, and the cache after them. */
  async run(/** @type {number[]} */ ids, cache, past) {
    const { Tensor } = this.ort;
    const total = past + ids.length;
    const feeds = {
      input_ids: new Tensor("int64", BigInt64Array.from(ids, BigInt), [1, ids.length]),
      seqlens_k: new Tensor("int32", Int32Array.of(total - 1), [1]),
      total_len: new Tensor("int32", Int32Array.of(total), [1]),
    };
    cache.forEach(({ k, v }, i) => Object.assign(feeds, { [`L${i}.pk`]: k, [`L${i}.pv`]: v }));
    const out = await this.session.run(feeds);
    return { logits: out.logits.data, cache: cache.map((_, i) => ({ k: out[`L${i}.nk`], v: out[`L${i}.nv`] })) };
  }

  /** Lets go of a cache that is on the GPU. */
  drop(cache) {
    for (const { k, v } of cache) for (const tensor of [k, v]) if (tensor.location === "gpu-buffer") tensor.dispose();
  }
}

/** Where session outputs are, so that caches stay on the GPU between steps. @param {number} layers */
export function cachesOnGpu(layers) {
  const names = Array.from({ length: layers }, (_, i) => [`L${i}.nk`, `L${i}.nv`]).flat();
  return Object.fromEntries(names.map((name) => [name, "gpu-buffer"]));
}

/**
 * Decoding behind each of `pasts`, and a prompt of 64: both sides' answers beside the judge's, then both in turn. Says a
 * line for each. A round of ours is `tokens` tokens of one request, of theirs as many runs behind the same past.
 * @param {object} sides
 * @param {import("../../src/engine/engine.ts").InProcessEngine} sides.engine @param {Theirs} sides.theirs @param {Theirs} sides.judge
 * @param {{ freshIds: (count: number, vocab: number, seed: number) => number[], rested: Function, software: boolean }} sides.tools
 * @param {{ pasts: number[], rounds: number, tokens: number }} options @param {(line: string) => void} log
 */
export async function compareDecoders({ engine, theirs, judge, tools }, { pasts, rounds, tokens }, log) {
  const { vocabSize } = engine.info;
  const ours = (ids, maxTokens) =>
    tools.rested(tools.software, async () => {
      const times = [performance.now()];
      await engine.generate(ids, { temperature: 0, maxTokens }, () => times.push(performance.now()));
      return times;
    });
  const read = (ids) => tools.rested(tools.software, () => engine.logits(ids, "last"));
  const timed = async (run) => {
    const begun = performance.now();
    await run();
    return performance.now() - begun;
  };
  const inTurn = async (mine, other) => {
    const times = { ours: [], theirs: [] };
    for (let i = 0; i < rounds; i++) {
      for (const side of i % 2 ? ["theirs", "ours"] : ["ours", "theirs"]) {
        times[side].push(await (side === "ours" ? mine : other)(i));
      }
    }
    return times;
  };

  for (const past of pasts) {
    const ids = tools.freshIds(past + 1, vocabSize, past);
    const next = ids.slice(past);
    const known = await judge.run(ids.slice(0, past), judge.empty(), 0);
    const right = (await judge.run(next, known.cache, past)).logits;
    const answer = await theirs.run(next, known.cache, past);
    theirs.drop(answer.cache);
    const check = verdicts(await read(ids), answer.logits, right);
    // Theirs decodes behind what itself put into the cache, wherever it keeps that; ours has its own since it was read.
    const own = (await theirs.run(ids.slice(0, past), theirs.empty(), 0)).cache;
    await ours(ids, tokens + 1);
    const times = await inTurn(
      async () => {
        const came = await ours(ids, tokens + 1);
        return (came.at(-1) - came[1]) / tokens;
      },
      async () => {
        const ms = await timed(async () => {
          for (let t = 0; t < tokens; t++) theirs.drop((await theirs.run(next, own, past)).cache);
        });
        return ms / tokens;
      },
    );
    theirs.drop(own);
    log(line(`decode at ${past} past`, times, check));
  }

  const prompt = (seed) => tools.freshIds(64, vocabSize, 9000 + seed);
  const right = (await judge.run(prompt(0), judge.empty(), 0)).logits;
  const answer = await theirs.run(prompt(0), theirs.empty(), 0);
  theirs.drop(answer.cache);
  const check = verdicts(await read(prompt(0)), answer.logits, right);
  await ours(prompt(1), 1);
  const times = await inTurn(
    async (i) => {
      const [begun, first] = await ours(prompt(2 + i), 1);
      return first - begun;
    },
    (i) => timed(async () => theirs.drop((await theirs.run(prompt(2 + i), theirs.empty(), 0)).cache)),
  );
  log(line("prefill of 64", times, check));
}

function verdicts(mine, other, right) {
  const expected = Float64Array.from(right);
  const best = (v) => v.reduce((at, x, i) => (x > v[at] ? i : at), 0);
  const say = (v) => {
    const error = nmse(v, expected);
    return `${error < BOUND ? "right" : "WRONG"} (${error.toExponential(1)}, ${best(v) === best(right) ? "same" : "another"} token)`;
  };
  return `ours ${say(mine)}  theirs ${say(other)}`;
}

function line(name, { ours, theirs }, check) {
  const [a, b] = [median(ours), median(theirs)];
  const spread = (v) => `${Math.min(...v).toFixed(0)} to ${Math.max(...v).toFixed(0)}`;
  return [
    name.padEnd(22),
    (b / a).toFixed(2).padStart(6),
    `ours ${a.toFixed(0)} ms (${spread(ours)}), theirs ${b.toFixed(0)} ms (${spread(theirs)}), ${ours.length} rounds`.padEnd(
      72,
    ),
    check,
  ].join("  ");
}

export const HEAD =
  "theirs / ours: above 1 ours takes less time. Answers: NMSE of the logits against onnxruntime's CPU provider.";
