/** The bench: what the page and the command line measure with. An entry of its own; the library does not need it. */
export { benchDecode, type DecodeBenchOptions, type DecodeReport, type DecodeRow } from "./decode.ts";
export { chooseCases, benchKernels, type KernelBenchOptions, type KernelBenchProgress } from "./kernels.ts";
export { modelReportText } from "./model-table.ts";
export { type ModelBenchProgress } from "./model-run.ts";
export { MADE_MODELS } from "./models.ts";
export { benchPrefill, type PrefillBenchOptions, type PrefillReport, type PrefillRow } from "./prefill.ts";
export { barriersOf, deviceName, parseReport, ratiosTo, type CaseResult, type KernelReport } from "./report.ts";
export { attainable, boundOf, intensityOf, type Bound, type Peaks, type Work } from "./roofline.ts";
export { bytesText, COLUMNS, digits, peakLines, percent, reportText, SOFTWARE_NOTE } from "./table.ts";
export { TesseraError } from "../base/errors.ts";
