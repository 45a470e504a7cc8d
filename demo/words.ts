/** What the page says: numbers, progress, errors and endings in plain English. Pure functions of plain data. */
import { TesseraError, type EngineStats, type FinishReason, type LoadProgress, type ModelInfo } from "../src/index.ts";

/** Decimal units, as disks and networks count: 3_981_312 → "4.0 MB". */
export function bytesInWords(bytes: number): string {
  const units = ["bytes", "kB", "MB", "GB"];
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 || value >= 99.95 ? value.toFixed(0) : value.toFixed(1)} ${units[unit] ?? ""}`;
}

/** 1_052_800 → "1.1 million", 260_032 → "260 thousand". */
export function countInWords(count: number): string {
  const scales: [number, string][] = [
    [1e9, "billion"],
    [1e6, "million"],
    [1e3, "thousand"],
  ];
  const [size, name] = scales.find(([size]) => count >= size * 0.9995) ?? [1, ""];
  const value = count / size;
  return size === 1 ? String(count) : `${value.toFixed(value < 9.95 ? 1 : 0)} ${name}`;
}

function timeLeftInWords(seconds: number): string {
  if (seconds < 90) return `about ${Math.max(1, Math.ceil(seconds))} s left`;
  return `about ${Math.ceil(seconds / 60)} min left`;
}

/** Milliseconds: under a second as such, then in seconds. */
export function durationInWords(ms: number): string {
  return ms < 999.5 ? `${ms.toFixed(0)} ms` : `${(ms / 1000).toFixed(2)} s`;
}

const STAGES: Record<LoadProgress["stage"], string> = {
  config: "Reading the model's description",
  tokenizer: "Reading the vocabulary",
  weights: "Loading weights",
  pipelines: "Preparing the GPU",
  ready: "Ready",
};

const SHARES: Record<LoadProgress["stage"], number> = {
  config: 0.03,
  tokenizer: 0.07,
  weights: 0.7,
  pipelines: 0.2,
  ready: 0,
};

/** One bar and one line over stages that overlap: the GPU's programs compile while the weights come. */
export class LoadMeter {
  readonly #stages = new Map<LoadProgress["stage"], LoadProgress>();

  /** `fraction`, 0 to 1, never falls. The line is that of the weights until they are whole. */
  add(progress: LoadProgress): { fraction: number; words: string } {
    this.#stages.set(progress.stage, progress);
    let fraction = 0;
    for (const { stage, loaded, total } of this.#stages.values()) {
      fraction += SHARES[stage] * (total > 0 ? loaded / total : 0);
    }
    const weights = this.#stages.get("weights");
    const streaming = weights !== undefined && weights.loaded < weights.total;
    return { fraction, words: progressInWords(streaming ? weights : progress) };
  }
}

export function progressInWords(progress: LoadProgress): string {
  const parts = [STAGES[progress.stage]];
  if (progress.stage === "weights" && progress.total > 0) {
    parts.push(`${bytesInWords(progress.loaded)} of ${bytesInWords(progress.total)}`);
  }
  if (progress.stage === "pipelines") parts.push(`${progress.loaded} of ${progress.total} programs`);
  if (progress.secondsLeft !== undefined && progress.secondsLeft > 0) parts.push(timeLeftInWords(progress.secondsLeft));
  return parts.join(" · ");
}

export function modelFacts(model: ModelInfo): string {
  return [model.modelType, `${countInWords(model.parameters)} parameters`, `context ${model.contextTokens}`].join(
    " · ",
  );
}

const ERRORS: Record<TesseraError["code"], string> = {
  argument: "That cannot be used.",
  unsupported: "Tessera cannot do this.",
  "unsupported-model": "Tessera does not know this kind of model.",
  config: "The model's config.json cannot be used.",
  source: "The model's files could not be read.",
  safetensors: "A weights file is damaged or not in the safetensors format.",
  weights: "The weights do not fit the model's description.",
  tokenizer: "The model's tokenizer cannot be used.",
  template: "The model's chat template failed.",
  "context-length": "This is longer than the model can hold.",
  "too-large": "The result would be too large.",
  abort: "Cancelled.",
  "no-adapter": "No graphics card is available to this page.",
  "device-lost": "The graphics card stopped answering.",
  session: "The saved session cannot be used here.",
  worker: "The page's background worker stopped.",
  gpu: "The graphics driver refused a command.",
  "out-of-memory": "The graphics card has too little free memory.",
  disposed: "The model is no longer loaded.",
};

/** `title` is one plain sentence; `detail` is what the library said, which names the file, field or figure. */
export function errorInWords(error: unknown): { title: string; detail: string } {
  if (error instanceof TesseraError) return { title: ERRORS[error.code], detail: error.message };
  const detail = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  return { title: "Something went wrong in this page.", detail };
}

export function finishInWords(reason: FinishReason, tokens: number): string {
  const count = `${tokens} ${tokens === 1 ? "token" : "tokens"}`;
  if (reason === "abort") return `Stopped after ${count}.`;
  if (reason === "length") return `Finished: ${count}, the most allowed.`;
  return `Finished: the text ended after ${count}.`;
}

/** Which entry of the page's advice is for this browser. */
export function browserKind(userAgent: string): string {
  if (/Firefox\//.test(userAgent)) return "firefox";
  if (/iPhone|iPad/.test(userAgent)) return "safari"; // every browser there is Safari's engine
  if (/Android/.test(userAgent)) return "android";
  if (/Chrome\//.test(userAgent)) return /Linux|X11/.test(userAgent) ? "chromium-linux" : "chromium";
  return /Safari\//.test(userAgent) ? "safari" : "chromium";
}

/** Label and value of each figure in the line at the foot of the page. */
export function statsInWords(
  stats: EngineStats,
  model: ModelInfo,
  dispatchesPerStep: number | null,
): [string, string][] {
  const { adapter, pages } = stats;
  const named = adapter.description || [adapter.vendor, adapter.architecture].filter(Boolean).join(" ") || "not named";
  const rows: [string, string][] = [
    ["GPU", named],
    ["Weights", `${model.weights.format}, ${bytesInWords(model.weights.bytes)}`],
    ["GPU memory", bytesInWords(stats.gpuBytes.total)],
    ["Pages in use", `${pages.used} of ${pages.total}`],
  ];
  if (dispatchesPerStep !== null) rows.push(["Dispatches a step", String(+dispatchesPerStep.toFixed(1))]);
  return rows;
}
