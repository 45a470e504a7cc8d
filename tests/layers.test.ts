import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { layerViolations } from "./support/layers.ts";
import { repoRoot } from "./support/shared.ts";

function readTree(...folders: string[]): Map<string, string> {
  const sources = new Map<string, string>();
  for (const folder of folders.filter((name) => existsSync(join(repoRoot, name)))) {
    for (const entry of readdirSync(join(repoRoot, folder), { recursive: true, encoding: "utf8" })) {
      const path = `${folder}/${entry.replaceAll("\\", "/")}`;
      if (/\.(ts|wgsl|css)$/.test(path)) sources.set(path, readFileSync(join(repoRoot, path), "utf8"));
    }
  }
  return sources;
}

it("holds the table of rooms", () => {
  const sources = readTree("src", "demo", "shaders");
  expect(sources.size).toBeGreaterThan(0);
  expect(layerViolations(sources)).toEqual([]);
});

describe("the check of rooms", () => {
  const house = {
    "src/base/errors.ts": "export const e = 1;",
    "src/gpu/device.ts": 'import { e } from "../base/errors.ts"; export const d = e;',
    "src/weights/safetensors.ts": "export const s = 1; export type S = 1;",
    "src/weights/quant/dense.ts": "export const q = 1;",
    "src/text/tokenizer.ts": 'import { Tokenizer } from "@huggingface/tokenizers"; export type T = Tokenizer;',
    "src/kernels/define.ts": "export const k = (d: GPUDevice) => d.createComputePipelineAsync;",
    "src/engine/core.ts": "export const c = 1;",
    "src/api/engine.ts": 'import { c } from "../engine/core.ts"; import type { T } from "../text/tokenizer.ts";',
    "src/index.ts": 'export { e } from "./base/errors.ts"; export type { T } from "./text/tokenizer.ts";',
    "src/bench/index.ts": 'export * from "../kernels/define.ts";',
    "src/cli/main.ts": 'import "../bench/index.ts"; import "../index.ts"; import "node:fs";',
    "shaders/x.wgsl": "",
  };
  const violations = (more: Record<string, string>) => layerViolations(new Map(Object.entries({ ...house, ...more })));

  it("finds nothing wrong with an orderly house", () => {
    expect(violations({})).toEqual([]);
  });

  const orderly: [what: string, path: string, text: string][] = [
    ["a room within itself", "src/gpu/pass.ts", 'import { d } from "./device.ts";'],
    ["a part of a room", "src/kernels/x.ts", 'import { q } from "../weights/quant/dense.ts";'],
    ["types from below", "src/kernels/x.ts", 'import type { S } from "../weights/safetensors.ts";'],
    ["types from below, inline", "src/api/x.ts", 'export type X = import("../text/tokenizer.ts").T;'],
    ["a shader", "src/kernels/x.ts", 'import source from "../../shaders/x.wgsl?raw";'],
    ["a name in a comment", "src/gpu/x.ts", '// import "../engine/core.ts"; createComputePipeline'],
    ["a page on the public entries", "demo/x.ts", 'import "../src/index.ts"; import "../src/bench/index.ts";'],
  ];
  it.each(orderly)("allows %s", (_what, path, text) => {
    expect(violations({ [path]: text })).toEqual([]);
  });

  const disorderly: [what: string, path: string, text: string, message: RegExp][] = [
    ["upward", "src/gpu/x.ts", 'import { k } from "../kernels/define.ts";', /upward/],
    ["upward, type", "src/gpu/x.ts", 'import type { k } from "../kernels/define.ts";', /upward/],
    ["upward, re-export", "src/base/x.ts", 'export * from "../gpu/device.ts";', /upward/],
    ["upward, dynamic", "src/gpu/x.ts", 'export const f = () => import("../engine/core.ts");', /upward/],
    ["upward, worker", "src/gpu/x.ts", 'new Worker(new URL("../engine/core.ts", import.meta.url));', /upward/],
    ["sideways", "src/gpu/x.ts", 'import { s } from "../weights/safetensors.ts";', /sideways/],
    ["sideways, type", "src/gpu/x.ts", 'import type { S } from "../weights/safetensors.ts";', /sideways/],
    ["sideways at the top", "src/widget/x.ts", 'import "../bench/index.ts";', /sideways/],
    ["code where only types may be had", "src/api/x.ts", 'import { T } from "../text/tokenizer.ts";', /import type/],
    ["code by an inline type", "src/api/x.ts", 'import { type T } from "../text/tokenizer.ts";', /import type/],
    ["another part of a room", "src/kernels/x.ts", 'import { s } from "../weights/safetensors.ts";', /import type/],
    ["a skipped level", "src/worker/x.ts", 'import { k } from "../kernels/define.ts";', /import type/],
    ["the index from below", "src/api/x.ts", 'import { e } from "../index.ts";', /upward/],
    ["an unknown room", "src/utils/x.ts", 'import "../base/errors.ts";', /no such room.*utils/],
    ["outside", "src/cli/x.ts", 'import "../../tests/layers.test.ts";', /outside/],
    ["a shader elsewhere", "src/engine/x.ts", 'import s from "../../shaders/x.wgsl?raw";', /shaders are for/],
    ["a missing file", "src/gpu/x.ts", 'import "./device";', /no such file/],
    ["a package elsewhere", "src/api/x.ts", 'import "@huggingface/jinja";', /for text/],
    ["an unknown package", "src/text/x.ts", 'import "left-pad";', /no room/],
    ["node in a pure room", "src/weights/x.ts", 'import "node:fs";', /for gpu.*store/],
    ["a circle", "src/gpu/x.ts", 'import "./y.ts";', /circular: src\/gpu\/x.ts → src\/gpu\/y.ts → src\/gpu\/x.ts/],
    [
      "a pipeline elsewhere",
      "src/gpu/x.ts",
      "export const p = (d) => d.createComputePipeline({});",
      /define\.ts alone/,
    ],
    ["a pipeline by name", "src/gpu/x.ts", 'export const p = (d) => d["createComputePipelineAsync"]({});', /alone/],
    ["code in the index", "src/index.ts", 'export * from "./api/engine.ts"; export const x = 1;', /re-exports/],
    ["a page on the inside", "demo/x.ts", 'import "../src/api/engine.ts";', /demo\/ imports only/],
    ["a page on a package", "demo/x.ts", 'import "@huggingface/jinja";', /for text/],
  ];
  it.each(disorderly)("refuses %s", (what, path, text, message) => {
    const others: Record<string, string> =
      what === "a circle" ? { "src/gpu/y.ts": 'import type { X } from "./x.ts";' } : {};
    expect(violations({ [path]: text, ...others })).toEqual([expect.stringMatching(message)]);
  });
});
