import { ArgumentError } from "../base/errors.ts";
import type { DeviceInfo } from "../gpu/device.ts";
import type { Tuning } from "../kernels/tuning.ts";
import type { DispatchCount } from "./count.ts";
import type { Peaks } from "./roofline.ts";

/** What one case gave. Times in milliseconds, rates decimal. */
export interface CaseResult {
  readonly name: string;
  /** One run, warm pipelines, cold weights: the median slope of the rounds, and their interquartile range over it. */
  readonly ms: number;
  readonly spread: number;
  readonly rounds: number;
  readonly repeats: number;
  /** Compiling what no case before had compiled, and the first run: not in `ms`. */
  readonly compileMs: number;
  readonly firstMs: number;
  /** Counted: compulsory traffic, operations, dispatches with their workgroups and barriers. */
  readonly bytes: number;
  readonly flops: number;
  readonly dispatches: readonly DispatchCount[];
  /** Distinct bytes of weights or cache that the runs took in turn; less than the GPU's cache means warm weights. */
  readonly rotatedBytes: number;
  readonly gbPerS: number;
  readonly gflopPerS: number;
  /** The share of the roof at this intensity: least possible time over measured time, 0 to 1. */
  readonly share: number;
  readonly boundBy: "memory" | "arithmetic";
  /** Every number of the result was finite, and not all were zero. */
  readonly sane: boolean;
}

/** One run of `tessera bench kernels` or of the bench page. */
export interface KernelReport {
  readonly kind: "tessera kernels";
  readonly schema: 1;
  readonly version: string;
  /** ISO 8601. */
  readonly date: string;
  /** Browser, or Node and its version. */
  readonly agent: string;
  readonly device: DeviceInfo;
  /** A driver that computes on the CPU: its times say nothing of any GPU. */
  readonly software: boolean;
  readonly clock: "timestamps" | "queue";
  readonly tuning: Tuning;
  readonly peaks: Peaks;
  readonly cases: readonly CaseResult[];
  readonly skipped: readonly { readonly name: string; readonly reason: string }[];
}

/** A name for people; vendors tell pages less than drivers tell programs. */
export function deviceName({ vendor, architecture, description }: DeviceInfo): string {
  return description || [vendor, architecture].filter(Boolean).join(" ") || "unnamed adapter";
}

/** Reads a report's file. Throws ArgumentError where it is none, naming what is wrong. */
export function parseReport(text: string): KernelReport {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new ArgumentError("This is no report of tessera bench kernels: it is not JSON.");
  }
  const report = value as Partial<KernelReport> | null;
  if (typeof report !== "object" || report?.kind !== "tessera kernels") {
    throw new ArgumentError('This is no report of tessera bench kernels: it lacks "kind": "tessera kernels".');
  }
  if (report.schema !== 1)
    throw new ArgumentError(`This report is of schema ${String(report.schema)}; this page reads 1.`);
  const numbers = ["ms", "bytes", "flops", "gbPerS", "gflopPerS", "share"] as const;
  const sane =
    typeof report.peaks?.readGBs === "number" &&
    typeof report.peaks.f32GFLOPs === "number" &&
    typeof report.device?.vendor === "string" &&
    Array.isArray(report.cases) &&
    report.cases.every(
      (c: Partial<CaseResult>) => typeof c.name === "string" && numbers.every((n) => typeof c[n] === "number"),
    );
  if (!sane) throw new ArgumentError("This report is incomplete: device, peaks or cases are not as they should be.");
  return report as KernelReport;
}

/** Time here over time there, of the cases that both have: below 1 is faster than the other report. */
export function ratiosTo(report: KernelReport, other: KernelReport): Map<string, number> {
  const there = new Map(other.cases.map((c) => [c.name, c.ms]));
  return new Map(
    report.cases.flatMap(({ name, ms }) => {
      const otherMs = there.get(name);
      return otherMs !== undefined && otherMs > 0 && ms > 0 ? [[name, ms / otherMs] as const] : [];
    }),
  );
}

/** Barriers of one run of a case, each dispatch's mean a workgroup, added up; null where one could not be counted. */
export function barriersOf({ dispatches }: Pick<CaseResult, "dispatches">): number | null {
  return dispatches.reduce<number | null>(
    (sum, d) => (sum === null || d.barriers === null ? null : sum + d.barriers),
    0,
  );
}
