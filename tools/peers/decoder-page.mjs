// The decoders in a page: caches of both sides stay on the GPU.
import { cachesOnGpu, compareDecoders, Theirs } from "./decoder-run.mjs";
import { onnxDecoder, openOurs, shapeOf, tools } from "./decoder.ts";
import { onnxruntime } from "./page.mjs";

/** Says each line as soon as it is known. @param {string} name of the shape @param {(line: string) => void} log */
export async function runDecoders(name, log) {
  const options = { shape: name, contextTokens: 128 };
  const shape = shapeOf(name);
  const ort = await onnxruntime();
  const engine = await openOurs(options);
  const model = await onnxDecoder(options);
  const preferredOutputLocation = cachesOnGpu(shape.layers);
  const theirs = await Theirs.open(ort, model, shape, { executionProviders: ["webgpu"], preferredOutputLocation });
  const judge = await Theirs.open(ort, model, shape, { executionProviders: ["wasm"] });
  log(`${name}, 4-bit weights, 8-bit head, f32 caches; ${engine.gpu.info.description || engine.gpu.info.architecture}`);
  const sides = { engine, theirs, judge, tools: tools(engine) };
  await compareDecoders(sides, { pasts: [64], rounds: 3, tokens: 3 }, log);
  await engine.dispose();
}
