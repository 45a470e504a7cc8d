// One case of the comparison, in the page: both sides keep their tensors on the GPU and are waited for.
import { allCases, interleave, nmse } from "./cases.mjs";
import { ours } from "./ours.ts";

/** @type {Promise<any> | undefined} */
let loading;
export function onnxruntime() {
  const address = "/ort/ort.webgpu.min.mjs";
  loading ??= import(/* @vite-ignore */ address).then((ort) => {
    ort.env.wasm.wasmPaths = "/ort/";
    ort.env.wasm.numThreads = 1;
    ort.env.logLevel = "error";
    return ort;
  });
  return loading;
}

/** The result of case number `index`; {} where the filter leaves it out, null where there are no more. */
export async function run(/** @type {number} */ index, /** @type {string} */ filter) {
  const one = allCases(true)[index];
  if (one === undefined) return null;
  if (!one.name.includes(filter)) return {};
  const ort = await onnxruntime();
  const mine = await ours(one);
  const outputs = one.kind === "matmul" ? ["y"] : ["y", "nk", "nv"];
  const session = await ort.InferenceSession.create(one.model, {
    executionProviders: ["webgpu"],
    preferredOutputLocation: Object.fromEntries(outputs.map((name) => [name, "gpu-buffer"])),
  });
  const device = await ort.env.webgpu.device;
  const feeds = Object.fromEntries(
    Object.entries(one.feeds).map(([name, { type, data, dims }]) => [name, new ort.Tensor(type, data, dims)]),
  );
  const theirs = async () => {
    const result = await session.run(feeds);
    await device.queue.onSubmittedWorkDone();
    for (const name of outputs) result[name].dispose();
  };
  const expected = one.reference();
  const oursError = nmse(await mine.run(true), expected);
  const first = await session.run(feeds);
  const theirsError = nmse(await first.y.getData(), expected);
  for (const name of outputs) first[name].dispose();
  const times = await interleave(() => mine.run(false), theirs, one.shape.rows > 1 ? 2 : 5);
  mine.close();
  await session.release();
  return { name: one.name, ...times, oursError, theirsError };
}
