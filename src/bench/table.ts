import { barriersOf, deviceName, type CaseResult, type KernelReport } from "./report.ts";
import type { Peaks } from "./roofline.ts";

/** Three significant digits, without exponents: 0.0123, 1.23, 12.3, 1230. */
export function digits(value: number): string {
  if (!Number.isFinite(value)) return "–";
  if (value === 0) return "0";
  const decimals = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return value.toFixed(Math.min(decimals, 5));
}

/** 0.734 as "73 %". */
export function percent(share: number): string {
  return `${(100 * share).toFixed(share < 0.0995 ? 1 : 0)} %`;
}

/** A count of bytes in decimal units. */
export function bytesText(bytes: number): string {
  return bytes >= 1e9
    ? `${digits(bytes / 1e9)} GB`
    : bytes >= 1e6
      ? `${digits(bytes / 1e6)} MB`
      : `${digits(bytes / 1e3)} kB`;
}

/** The peaks, a sentence each. */
export function peakLines(peaks: Peaks): [what: string, value: string][] {
  return [
    ["Streaming read", `${digits(peaks.readGBs)} GB/s`],
    ["f32 multiply-add", `${digits(peaks.f32GFLOPs)} GFLOP/s`],
    ["f16 multiply-add", peaks.f16GFLOPs === null ? "no shader-f16" : `${digits(peaks.f16GFLOPs)} GFLOP/s`],
    ["One more dispatch", `${digits(peaks.dispatchUs)} µs`],
    ["One more submit", `${digits(peaks.submitUs)} µs`],
  ];
}

export const SOFTWARE_NOTE =
  "This device computes on the CPU: counts and correctness hold anywhere, its times are no measure of any GPU.";

/** The columns of a case, as the command line prints them and the page's table shows them. */
export const COLUMNS: readonly { readonly head: string; readonly text: (result: CaseResult) => string }[] = [
  { head: "case", text: (r) => r.name },
  { head: "ms", text: (r) => digits(r.ms) },
  { head: "±", text: (r) => percent(r.spread) },
  { head: "GB/s", text: (r) => digits(r.gbPerS) },
  { head: "GFLOP/s", text: (r) => digits(r.gflopPerS) },
  { head: "of roof", text: (r) => percent(r.share) },
  { head: "bound by", text: (r) => r.boundBy },
  { head: "bytes", text: (r) => bytesText(r.bytes) },
  { head: "MFLOP", text: (r) => digits(r.flops / 1e6) },
  { head: "disp.", text: (r) => String(r.dispatches.length) },
  { head: "barr.", text: (r) => barriersText(barriersOf(r)) },
];

/** A mean over workgroups, which need not be whole. */
function barriersText(barriers: number | null): string {
  return barriers === null ? "?" : Number.isInteger(barriers) ? String(barriers) : barriers.toFixed(1);
}

/** Rows of texts as lines whose columns stand under each other, the first to the left. */
export function tableLines(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]!.map((_, i) => Math.max(...rows.map((row) => row[i]!.length)));
  return rows.map((row) =>
    row.map((text, i) => (i === 0 ? text.padEnd(widths[i]!) : text.padStart(widths[i]!))).join("  "),
  );
}

/** The whole report for a terminal. */
export function reportText(report: KernelReport): string {
  const { device, agent, version, clock, cases, skipped, peaks } = report;
  const rows = [COLUMNS.map((c) => c.head), ...cases.map((result) => COLUMNS.map((c) => c.text(result)))];
  const odd = cases.filter((c) => !c.sane).map((c) => c.name);
  return [
    `${deviceName(device)}; ${agent}; Tessera ${version}; ${clock === "timestamps" ? "GPU timestamps" : "queue times"}`,
    ...(report.software ? [SOFTWARE_NOTE] : []),
    "",
    ...peakLines(peaks).map(([what, value]) => `${what.padEnd(19)}${value}`),
    "",
    ...tableLines(rows),
    ...(odd.length > 0 ? ["", `Not finite, or all zero: ${odd.join(", ")}`] : []),
    ...(skipped.length > 0 ? ["", ...skipped.map(({ name, reason }) => `left out ${name}: ${reason}`)] : []),
    "",
  ].join("\n");
}
