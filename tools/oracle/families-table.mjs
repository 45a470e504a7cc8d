// The tables of report.mjs.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

/**
 * The worst error of a checkpoint in a format on a device, of the row's largest absolute logit.
 * @typedef {{ row: string, format: string, lane: string, error: number }} Measured
 */

const FORMATS = ["f32", "f16", "bf16", "q8", "q4"];

const line = (/** @type {string[]} */ cells) => `| ${cells.join(" | ")} |`;
const device = (/** @type {string} */ lane) => lane.replace("dawn-", "");
const error = (/** @type {number | undefined} */ value) => (value === 0 ? "0" : (value?.toExponential(1) ?? ""));

/**
 * One line a checkpoint, one column a format and device.
 * @param {readonly Measured[]} measured @param {readonly string[]} lanes
 */
export function rowsTable(measured, lanes) {
  const columns = FORMATS.flatMap((format) => lanes.map((lane) => ({ lane, format }))).filter((column) =>
    measured.some((m) => m.lane === column.lane && m.format === column.format),
  );
  const rows = [...new Set(measured.map((m) => m.row))].sort();
  const cell = (/** @type {string} */ row, /** @type {{ lane: string, format: string }} */ { lane, format }) =>
    error(measured.find((m) => m.row === row && m.lane === lane && m.format === format)?.error);
  return [
    line(["checkpoint", ...columns.map(({ lane, format }) => `${format}, ${device(lane)}`)]),
    line(["---", ...columns.map(() => "---:")]),
    ...rows.map((row) => line([row, ...columns.map((column) => cell(row, column))])),
  ].join("\n");
}

/** model_type of a row's config.json: families are counted by it. @param {string} row @returns {string} */
function familyOf(row) {
  const file = new URL(`../../tests/fixtures/families/${row}/config.json`, import.meta.url);
  return JSON.parse(readFileSync(fileURLToPath(file), "utf8")).model_type;
}

/**
 * One line a family with the worst of its checkpoints: as published, in 8 and in 4 bits, on each device; and a sentence above.
 * @param {readonly Measured[]} measured @param {readonly string[]} lanes
 */
export function familiesTable(measured, lanes) {
  /** @type {Map<string, Measured[]>} */
  const families = new Map();
  for (const m of measured) families.set(familyOf(m.row), [...(families.get(familyOf(m.row)) ?? []), m]);
  const columns = ["published", "q8", "q4"].flatMap((kind) => lanes.map((lane) => ({ kind, lane })));
  const worst = (/** @type {Measured[]} */ of, /** @type {{ kind: string, lane: string }} */ { kind, lane }) => {
    const some = of.filter((m) => m.lane === lane && (kind === "published" ? !/^q/.test(m.format) : m.format === kind));
    return some.length > 0 ? Math.max(...some.map((m) => m.error)) : undefined;
  };
  const rows = new Set(measured.map((m) => m.row)).size;
  const most = Math.max(...measured.map((m) => m.error));
  return [
    `${rows} checkpoints of ${families.size} families on ${lanes.map(device).join(" and ")}: no logit is further than ${error(most)} of the`,
    "largest of its row from what it should be.",
    "",
    "<details><summary>Worst error of each family</summary>",
    "",
    line(["family", ...columns.map(({ kind, lane }) => `${kind}, ${device(lane)}`)]),
    line(["---", ...columns.map(() => "---:")]),
    ...[...families]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([family, of]) => line([family, ...columns.map((column) => error(worst(of, column)))])),
    "",
    "</details>",
  ].join("\n");
}
