import { ArgumentError } from "../base/errors.ts";
import { benchDecode, benchKernels, benchPrefill, chooseCases, modelReportText, reportText } from "../bench/index.ts";
import type { BenchArgs, KernelBenchArgs, ModelBenchArgs } from "./args.ts";
import { modelSource } from "./model.ts";
import { print, StatusLine } from "./output.ts";

/** `tessera bench …`: the table, or with `--json` the report and nothing else. */
export async function bench(args: BenchArgs, signal: AbortSignal): Promise<void> {
  const status = new StatusLine();
  const common = {
    agent: `Node ${process.version}`,
    signal,
    onProgress: ({ done, total, at }: { done: number; total: number; at: string }): void =>
      status.show(`${done}/${total} ${at}`),
  };
  const [report, text] = await measure(args, common).finally(() => status.clear());
  await print(args.json ? `${JSON.stringify(report)}\n` : text);
}

interface Common {
  agent: string;
  signal: AbortSignal;
  onProgress: (progress: { done: number; total: number; at: string }) => void;
}

async function measure(args: BenchArgs, common: Common): Promise<[report: object, text: string]> {
  if (args.subject === "kernels") {
    const report = await benchKernels({ ...kernelOptions(args), ...common });
    return [report, reportText(report)];
  }
  const options = { ...modelOptions(args), ...common };
  const report = await (args.subject === "decode" ? benchDecode(options) : benchPrefill(options));
  return [report, modelReportText(report)];
}

function kernelOptions({ filter, effort }: KernelBenchArgs): { filter?: string; quick: boolean; full: boolean } {
  refuseEmpty(filter);
  return { ...(filter !== undefined && { filter }), quick: effort === "quick", full: effort === "full" };
}

function modelOptions({ model, ...rest }: ModelBenchArgs): Omit<ModelBenchArgs, "model"> & { source?: string } {
  return { ...rest, ...(model !== undefined && { source: modelSource(model) }) };
}

/** A filter that no case of any device has is told before a device is asked for. */
function refuseEmpty(filter: string | undefined): void {
  const all = [...chooseCases(false, filter), ...chooseCases(true, filter)];
  if (all.length > 0) return;
  const kernels = [...new Set(chooseCases(false).map((c) => c.name.split("/")[0]))];
  throw new ArgumentError(
    `--filter ${JSON.stringify(filter)}: no case is named so. Names are such as ${chooseCases(false)[0]!.name}; kernels: ${kernels.join(", ")}.`,
  );
}
