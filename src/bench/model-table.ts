import type { DecodeReport, DecodeRow } from "./decode.ts";
import type { PrefillReport, PrefillRow } from "./prefill.ts";
import { deviceName } from "./report.ts";
import { bytesText, digits, peakLines, percent, SOFTWARE_NOTE, tableLines } from "./table.ts";

type Column<T> = readonly [head: string, text: (row: T) => string];

const DECODE: readonly Column<DecodeRow>[] = [
  ["context", (r) => String(r.context)],
  ["seq.", (r) => String(r.sequences)],
  ["ms/step", (r) => digits(r.ms)],
  ["±", (r) => percent(r.spread)],
  ["tokens/s", (r) => digits(r.tokensPerS)],
  ["host ms", (r) => digits(r.hostMs)],
  ["disp.", (r) => digits(r.dispatches)],
  ["a layer", (r) => digits(r.dispatchesPerLayer)],
  ["submits", (r) => digits(r.submits)],
  ["bytes", (r) => bytesText(r.bytes)],
  ["of them KV", (r) => bytesText(r.kvBytes)],
  ["floor ms", (r) => digits(r.floorMs)],
  ["of roof", (r) => percent(r.share)],
];

const PREFILL: readonly Column<PrefillRow>[] = [
  ["tokens", (r) => String(r.tokens)],
  ["ms", (r) => digits(r.ms)],
  ["±", (r) => percent(r.spread)],
  ["tokens/s", (r) => digits(r.tokensPerS)],
  ["steps", (r) => digits(r.steps)],
  ["host ms", (r) => digits(r.hostMs)],
  ["disp.", (r) => digits(r.dispatches)],
  ["submits", (r) => digits(r.submits)],
  ["GFLOP", (r) => digits(r.flops / 1e9)],
  ["GFLOP/s", (r) => digits(r.gflopPerS)],
  ["floor ms", (r) => digits(r.floorMs)],
  ["of roof", (r) => percent(r.share)],
];

/** A report of a model for a terminal. */
export function modelReportText(report: DecodeReport | PrefillReport): string {
  const { device, agent, version, model, loadMs, software, peaks } = report;
  const { weights, kv, parameters, layers } = model;
  const lines = report.kind === "tessera decode" ? rowsOf(DECODE, report.rows) : rowsOf(PREFILL, report.rows);
  return [
    `${deviceName(device)}; ${agent}; Tessera ${version}`,
    `${model.name}${model.made ? ", random weights" : ""}: ${digits(parameters / 1e6)} M parameters in ${layers} layers, ` +
      `${weights.format} (${bytesText(weights.bytes)}), ${kv} cache; loaded in ${digits(loadMs / 1000)} s`,
    ...(software ? [SOFTWARE_NOTE] : []),
    "",
    ...peakLines(peaks).map(([what, value]) => `${what.padEnd(19)}${value}`),
    "",
    ...lines,
    "",
  ].join("\n");
}

function rowsOf<T>(columns: readonly Column<T>[], rows: readonly T[]): string[] {
  return tableLines([columns.map(([head]) => head), ...rows.map((row) => columns.map(([, text]) => text(row)))]);
}
