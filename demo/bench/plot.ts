/** The roofline plot: log–log, drawn anew for the width that there is. */
import {
  attainable,
  digits,
  intensityOf,
  percent,
  type CaseResult,
  type KernelReport,
  type Peaks,
} from "../../src/bench/index.ts";
import { logScale, placeLabels, type LogScale } from "./scale.ts";

const SVG = "http://www.w3.org/2000/svg";
const MARGIN = { left: 52, right: 14, top: 14, bottom: 40 };

/** The part of a name before the first slash: "linear", "attention". */
export const kindOf = (name: string): string => name.split("/")[0]!;

function element(name: string, attributes: Record<string, string | number>, text?: string): SVGElement {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, String(value));
  if (text !== undefined) node.textContent = text;
  return node;
}

/** A shape for each kind, so that colour is not all that tells them apart. Centred on (x, y), about 10 pixels. */
export function mark(kind: number, x: number, y: number): SVGElement {
  const path = [
    "M-4.5,0 a4.5,4.5 0 1,0 9,0 a4.5,4.5 0 1,0 -9,0 z",
    "M-4,-4 h8 v8 h-8 z",
    "M0,-5 l5,9 h-10 z",
    "M0,-5.5 l5.5,5.5 l-5.5,5.5 l-5.5,-5.5 z",
    "M0,5 l5,-9 h-10 z",
    "M-5,-2 h3 v-3 h4 v3 h3 v4 h-3 v3 h-4 v-3 h-3 z",
    "M-5,-3 h10 v6 h-10 z",
  ][kind % 7]!;
  return element("path", {
    d: path,
    transform: `translate(${x.toFixed(1)} ${y.toFixed(1)})`,
    class: `point kind-${kind % 7}`,
  });
}

/** Draws the report into `frame`; the n-th case is number n + 1. */
export function drawPlot(
  frame: HTMLElement,
  report: Pick<KernelReport, "peaks" | "cases">,
  kinds: readonly string[],
): void {
  const width = Math.max(280, frame.clientWidth);
  const height = Math.round(Math.min(460, Math.max(280, width * 0.6)));
  const { peaks, cases } = report;
  const shown = cases.filter((c) => c.flops > 0 && c.gflopPerS > 0);
  const ridge = peaks.f32GFLOPs / peaks.readGBs;
  const x = logScale([...shown.map(intensityOf), ridge / 4, ridge * 4], MARGIN.left, width - MARGIN.right);
  const roofs = [peaks.f32GFLOPs, peaks.f16GFLOPs ?? 0];
  const y = logScale([...shown.map((c) => c.gflopPerS), ...roofs], height - MARGIN.bottom, MARGIN.top);
  const svg = element("svg", {
    viewBox: `0 0 ${width} ${height}`,
    height,
    role: "img",
    "aria-label": `Roofline plot of ${shown.length} cases; the table below has the same figures`,
  });
  svg.append(...axes(x, y, width, height), ...roofLines(peaks, x, y), ...points(report, shown, kinds, x, y));
  frame.replaceChildren(svg);
}

function axes(x: LogScale, y: LogScale, width: number, height: number): SVGElement[] {
  const [bottom, right] = [height - MARGIN.bottom, width - MARGIN.right];
  const tick = (value: number): string =>
    value >= 1 ? value.toLocaleString("en-US") : String(Number(value.toPrecision(1)));
  return [
    ...x.ticks.flatMap((t) => [
      element("line", { class: "grid", x1: x.at(t), x2: x.at(t), y1: MARGIN.top, y2: bottom }),
      element("text", { x: x.at(t), y: bottom + 15, "text-anchor": "middle" }, tick(t)),
    ]),
    ...y.ticks.flatMap((t) => [
      element("line", { class: "grid", x1: MARGIN.left, x2: right, y1: y.at(t), y2: y.at(t) }),
      element("text", { x: MARGIN.left - 6, y: y.at(t) + 4, "text-anchor": "end" }, tick(t)),
    ]),
    element("text", { x: (MARGIN.left + right) / 2, y: height - 6, "text-anchor": "middle" }, "operations a byte"),
    element(
      "text",
      { x: 0, y: 0, transform: `translate(11 ${(MARGIN.top + bottom) / 2}) rotate(-90)`, "text-anchor": "middle" },
      "GFLOP/s",
    ),
  ];
}

/** The slope of the bandwidth up to the ridge, the flat f32 peak after it; f16's beside it, dashed. */
function roofLines(peaks: Peaks, x: LogScale, y: LogScale): SVGElement[] {
  const { readGBs, f32GFLOPs, f16GFLOPs } = peaks;
  const start = Math.max(x.from, y.from / readGBs);
  const corner = (intensity: number, gflops: number): string =>
    `${x.at(intensity).toFixed(1)},${y.at(gflops).toFixed(1)}`;
  const line = (peak: number): string =>
    [
      [start, start * readGBs],
      [peak / readGBs, peak],
      [x.to, peak],
    ]
      .map(([i, g]) => corner(i!, g!))
      .join(" ");
  const middle = Math.sqrt(start * (f32GFLOPs / readGBs));
  const angle =
    (Math.atan2(y.at(attainable(start, peaks)) - y.at(attainable(middle, peaks)), x.at(middle) - x.at(start)) * -180) /
    Math.PI;
  const lines = [element("polyline", { class: "roof", points: line(f32GFLOPs) })];
  const label = (text: string, at: Record<string, string | number>): SVGElement =>
    element("text", { class: "roof-label", ...at }, text);
  lines.push(
    label(`${digits(readGBs)} GB/s`, {
      x: 0,
      y: -6,
      transform: `translate(${corner(middle, middle * readGBs).replace(",", " ")}) rotate(${angle.toFixed(1)})`,
      "text-anchor": "middle",
    }),
    label(`f32 ${digits(f32GFLOPs)} GFLOP/s`, { x: x.at(x.to) - 2, y: y.at(f32GFLOPs) - 5, "text-anchor": "end" }),
  );
  if (f16GFLOPs !== null) {
    lines.unshift(element("polyline", { class: "roof other", points: line(f16GFLOPs) }));
    const close = Math.abs(y.at(f16GFLOPs) - y.at(f32GFLOPs)) < 14;
    const below = close && f16GFLOPs <= f32GFLOPs;
    lines.push(
      label(`f16 ${digits(f16GFLOPs)} GFLOP/s`, {
        x: x.at(x.to) - 2,
        y: y.at(f16GFLOPs) + (below ? 13 : -5),
        "text-anchor": "end",
      }),
    );
  }
  return lines;
}

function points(
  { cases }: Pick<KernelReport, "cases">,
  shown: readonly CaseResult[],
  kinds: readonly string[],
  x: LogScale,
  y: LogScale,
): SVGElement[] {
  const placed = shown.map((c) => {
    const number = String(cases.indexOf(c) + 1);
    return { c, number, x: x.at(intensityOf(c)), y: y.at(c.gflopPerS), width: 6 * number.length };
  });
  const labels = placeLabels(placed);
  const dots = placed.map(({ c, number, x: px, y: py }) => {
    const dot = mark(kinds.indexOf(kindOf(c.name)), px, py);
    dot.dataset["case"] = c.name;
    dot.append(
      element("title", {}, `${number}. ${c.name}: ${digits(c.gflopPerS)} GFLOP/s, ${percent(c.share)} of the roof`),
    );
    return dot;
  });
  const numbers = placed.flatMap(({ number }, i) => {
    const at = labels[i];
    return at ? [element("text", { class: "number", x: at.x, y: at.y + 9 }, number)] : [];
  });
  return [...dots, ...numbers];
}
