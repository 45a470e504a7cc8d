import { ArgumentError } from "../base/errors.ts";
import { benchKernels, chooseCases, reportText, type KernelReport } from "../bench/index.ts";
import type { BenchArgs } from "./args.ts";
import { print, StatusLine } from "./output.ts";

/** `tessera bench kernels`: the table, or with `--json` the report and nothing else. */
export async function bench({ filter, effort, json }: BenchArgs, signal: AbortSignal): Promise<void> {
  refuseEmpty(filter);
  const status = new StatusLine();
  let report: KernelReport;
  try {
    report = await benchKernels({
      ...(filter !== undefined && { filter }),
      quick: effort === "quick",
      full: effort === "full",
      agent: `Node ${process.version}`,
      signal,
      onProgress: ({ done, total, at }) => status.show(`${done}/${total} ${at}`),
    });
  } finally {
    status.clear();
  }
  await print(json ? `${JSON.stringify(report)}\n` : reportText(report));
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
