/** The bench page: measures this device and its kernels, shows them, and compares two runs. */
import {
  benchKernels,
  COLUMNS,
  deviceName,
  digits,
  parseReport,
  peakLines,
  ratiosTo,
  SOFTWARE_NOTE,
  TesseraError,
  type KernelBenchProgress,
  type KernelReport,
} from "../../src/bench/index.ts";
import { drawPlot, kindOf, mark } from "./plot.ts";

const find = <T extends HTMLElement>(id: string): T => document.getElementById(id) as T;
const refs = {
  form: find<HTMLFormElement>("form"),
  filter: find<HTMLInputElement>("filter"),
  quick: find<HTMLInputElement>("quick"),
  start: find<HTMLButtonElement>("start"),
  stop: find<HTMLButtonElement>("stop"),
  status: find("status"),
  progress: find<HTMLProgressElement>("progress"),
  error: find("error"),
  software: find("software"),
  report: find("report"),
  device: find("device"),
  facts: find("facts"),
  peaks: find("peaks"),
  plot: find("plot"),
  legend: find("legend"),
  head: find("head"),
  rows: find("rows"),
  download: find<HTMLButtonElement>("download"),
  compare: find<HTMLButtonElement>("compare"),
  file: find<HTMLInputElement>("file"),
  comparison: find("comparison"),
};

let shown: KernelReport | null = null;
let other: KernelReport | null = null;
let running: AbortController | null = null;

// --- measuring -------------------------------------------------------------------------------------------------

refs.form.addEventListener("submit", (event) => {
  event.preventDefault();
  void measure();
});
refs.stop.addEventListener("click", () => running?.abort());

async function measure(): Promise<void> {
  if (running) return;
  running = new AbortController();
  const { signal } = running;
  showError(null);
  setRunning(true);
  try {
    const report = await benchKernels({
      filter: refs.filter.value,
      quick: refs.quick.checked,
      agent: navigator.userAgent,
      signal,
      onProgress: showProgress,
    });
    shown = report;
    refs.status.textContent = `Measured ${report.cases.length} ${report.cases.length === 1 ? "case" : "cases"}.`;
    show();
  } catch (error) {
    const stopped = error instanceof TesseraError && error.code === "abort";
    refs.status.textContent = stopped ? "Stopped." : "";
    if (!stopped) showError(error);
  } finally {
    running = null;
    setRunning(false);
  }
}

function showProgress({ done, total, at }: KernelBenchProgress): void {
  refs.progress.max = total;
  refs.progress.value = done;
  if (at !== "") refs.status.textContent = at === "peaks" ? "Measuring the peaks." : `${done} of ${total}: ${at}`;
}

function setRunning(active: boolean): void {
  refs.start.disabled = active;
  refs.stop.disabled = !active;
  if (!active) refs.progress.value = 0;
}

function showError(error: unknown): void {
  refs.error.hidden = error === null;
  if (error === null) return;
  const [title, detail] = refs.error.children;
  const code = error instanceof TesseraError ? error.code : null;
  title!.textContent =
    code === "no-adapter"
      ? "There is no GPU that this page may use."
      : code === "argument"
        ? "These figures cannot be read."
        : "The measurement failed.";
  detail!.textContent = error instanceof Error ? error.message : "An error of an unknown kind.";
}

// --- showing ---------------------------------------------------------------------------------------------------

function show(): void {
  if (!shown) return;
  const report = shown;
  refs.report.hidden = false;
  refs.device.textContent = deviceName(report.device);
  refs.facts.textContent = [
    report.device.shaderF16 ? "f16" : "no f16",
    report.device.subgroups ? "subgroups" : "no subgroups",
    report.clock === "timestamps" ? "GPU timestamps" : "queue times",
    `Tessera ${report.version}`,
  ].join(" · ");
  refs.software.hidden = !report.software;
  refs.software.textContent = SOFTWARE_NOTE;
  refs.peaks.replaceChildren(
    ...peakLines(report.peaks).map(([what, value]) => {
      const pair = document.createElement("div");
      pair.append(text("dt", what), text("dd", value));
      return pair;
    }),
  );
  showTable(report);
  showLegend(report);
  draw();
}

function text(name: string, content: string): HTMLElement {
  const node = document.createElement(name);
  node.textContent = content;
  return node;
}

const kindsOf = (report: KernelReport): string[] => [...new Set(report.cases.map((c) => kindOf(c.name)))];

function showTable(report: KernelReport): void {
  const ratios = other ? ratiosTo(report, other) : null;
  const heads = ["#", ...COLUMNS.map((c) => c.head), ...(ratios ? ["vs. file"] : [])];
  const row = document.createElement("tr");
  for (const head of heads) {
    const cell = text("th", head);
    cell.setAttribute("scope", "col");
    row.append(cell);
  }
  refs.head.replaceChildren(row);
  refs.rows.replaceChildren(
    ...report.cases.map((result, i) => {
      const line = document.createElement("tr");
      line.append(text("td", String(i + 1)), ...COLUMNS.map((column) => text("td", column.text(result))));
      if (!result.sane) line.children[1]!.className = "odd";
      if (ratios) line.append(ratioCell(ratios.get(result.name)));
      line.addEventListener("pointerenter", () => showPoint(result.name, true));
      line.addEventListener("pointerleave", () => showPoint(result.name, false));
      return line;
    }),
  );
}

/** Our time over the file's: 0.50 is twice as fast as there. */
function ratioCell(ratio: number | undefined): HTMLElement {
  const cell = text("td", ratio === undefined ? "–" : `${digits(ratio)} ×`);
  if (ratio !== undefined && Math.abs(Math.log(ratio)) > 0.05) cell.className = ratio < 1 ? "faster" : "slower";
  return cell;
}

function showPoint(name: string, on: boolean): void {
  refs.plot.querySelector(`[data-case="${CSS.escape(name)}"]`)?.classList.toggle("shown", on);
}

function showLegend(report: KernelReport): void {
  refs.legend.replaceChildren(
    ...kindsOf(report).map((kind, i) => {
      const item = document.createElement("li");
      const icon = document.createElementNS("http://www.w3.org/2000/svg", "svg");
      icon.setAttribute("viewBox", "-6 -6 12 12");
      icon.setAttribute("aria-hidden", "true");
      icon.classList.add(`kind-${i % 7}`);
      icon.append(mark(i, 0, 0));
      item.append(icon, kind.replaceAll("_", " "));
      return item;
    }),
  );
}

function draw(): void {
  if (shown) drawPlot(refs.plot, shown, kindsOf(shown));
}

let drawnWidth = 0;
new ResizeObserver(() => {
  if (refs.plot.clientWidth === drawnWidth) return;
  drawnWidth = refs.plot.clientWidth;
  draw();
}).observe(refs.plot);

// --- files -----------------------------------------------------------------------------------------------------

refs.download.addEventListener("click", () => {
  if (!shown) return;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([JSON.stringify(shown, null, 1)], { type: "application/json" }));
  link.download = `tessera-kernels-${deviceName(shown.device)
    .replace(/[^\w.]+/g, "-")
    .slice(0, 40)}.json`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
});
refs.compare.addEventListener("click", () => refs.file.click());
refs.file.addEventListener("change", () => void compare());

async function compare(): Promise<void> {
  const [file] = refs.file.files ?? [];
  refs.file.value = ""; // so that the same file can be chosen again
  if (!file || !shown) return;
  showError(null);
  try {
    other = parseReport(await file.text());
    const both = ratiosTo(shown, other).size;
    const day = other.date.slice(0, 10);
    refs.comparison.textContent = `vs. ${file.name}: ${deviceName(other.device)}, ${day}, ${both} ${both === 1 ? "case" : "cases"} in common. Our time over its: below 1 is faster.`;
    show();
  } catch (error) {
    showError(error);
  }
}
