import { inspectCheckpoint, type Inspection } from "../engine/inspect.ts";
import type { InspectArgs } from "./args.ts";
import { modelSource } from "./model.ts";
import { formatBytes, formatCount, print } from "./output.ts";

export async function inspect({ model, load, tensors, json }: InspectArgs, signal: AbortSignal): Promise<void> {
  const inspection = await inspectCheckpoint(modelSource(model), { ...load, signal });
  await print(json ? `${JSON.stringify(reportOf(inspection, tensors))}\n` : describe(inspection, tensors));
}

/** What `--json` prints: the fields of `Engine.model`, and what only the files tell. `tensors` when they are asked for. */
export function reportOf(inspection: Inspection, tensors: boolean): object {
  const { info, attention, files } = inspection;
  return {
    ...info,
    ...attention,
    files,
    dtypes: dtypesOf(inspection),
    ...(tensors && { tensors: inspection.tensors }),
  };
}

/** Tensors, elements and bytes by dtype, the most bytes first. */
export function dtypesOf({ tensors }: Inspection): { dtype: string; tensors: number; bytes: number }[] {
  const sums = new Map<string, { dtype: string; tensors: number; bytes: number }>();
  for (const { dtype, bytes } of tensors) {
    const sum = sums.get(dtype) ?? { dtype, tensors: 0, bytes: 0 };
    sums.set(dtype, { dtype, tensors: sum.tensors + 1, bytes: sum.bytes + bytes });
  }
  return [...sums.values()].sort((a, b) => b.bytes - a.bytes);
}

/** How much smaller a latent cache is than one of every head's keys and values. */
function saving(bytes: number, expanded: number): string {
  return `, ${(100 * (1 - bytes / expanded)).toFixed(1)} % less than the ${formatCount(expanded)} of its keys and values`;
}

/** The same for people, a line for each fact. */
export function describe(inspection: Inspection, withTensors: boolean): string {
  const { info, attention, files, tensors } = inspection;
  const { heads, kvHeads, headDim, expandedKvBytesPerToken: expanded } = attention;
  const regimes = info.regimes?.map(formatCount).join(", ");
  const rows: [string, string][] = [
    ["model type", info.modelType],
    ["parameters", `${formatCount(info.parameters)}, ${formatCount(info.activeParameters)} active in one token`],
    ["layers", `${info.layers} of width ${info.hiddenSize}`],
    ["heads", `${heads === null ? "" : `${heads}, `}${kvHeads} of keys and values, ${headDim} wide`],
    ["vocabulary", formatCount(info.vocabSize)],
    ["context", `${formatCount(info.contextTokens)} tokens, made for ${formatCount(info.trainedContextTokens)}`],
    ...(regimes ? [["rotary regimes", `for requests of up to ${regimes} tokens`] satisfies [string, string]] : []),
    ["tokenizer", info.tokenizer ? "yes" : "no: token ids only"],
    ["chat template", info.chatTemplate ? "yes" : "no"],
    ["BOS, end ids", `${info.bosId ?? "none"}, ${info.eosIds.join(" ") || "none"}`],
    ["weights", `${info.weights.format} (${info.weights.reason}), ${formatBytes(info.weights.bytes)} on the GPU`],
    [
      "cache",
      `${info.kv}, ${formatCount(info.kvBytesPerToken)} bytes a token${expanded === undefined ? "" : saving(info.kvBytesPerToken, expanded)}`,
    ],
    ["work", `${formatCount(info.flopsPerToken)} FLOPs a token, attention not counted`],
    ...dtypesOf(inspection).map(({ dtype, tensors: count, bytes }, i): [string, string] => {
      return [i === 0 ? "published as" : "", `${dtype}: ${formatCount(count)} tensors, ${formatBytes(bytes)}`];
    }),
    ...files.map(({ name, bytes }, i): [string, string] => [i === 0 ? "files" : "", `${name}, ${formatBytes(bytes)}`]),
  ];
  if (withTensors) {
    tensors.forEach(({ name, dtype, shape, file }, i) => {
      rows.push([i === 0 ? "tensors" : "", `${name} ${dtype} [${shape.join(", ")}] in ${file}`]);
    });
  }
  return rows.map(([name, value]) => `${name.padEnd(15)}${value}\n`).join("");
}
