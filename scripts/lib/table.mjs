// The end of `npm test`: what each lane did, what it left out and why.

/** @typedef {import("./reporter.mjs").LaneReport & { name: string, missing: string | undefined }} LaneRow */

const namesShown = 20;

/** What the kernels' tests must have: cases in all and for each kernel, in every lane that runs them. */
const leastCases = 600;
const leastCasesOfKernel = 30;
/** Not kernels, but what they stand on. */
const harness = new Set(["batch", "graph"]);

/** @param {import("./reporter.mjs").Skipped} test */
const reasonOf = (test) => test.reason || `a condition in ${test.file}`;

/** @param {LaneRow} row @returns {string[]} lines */
function skippedLines(row) {
  /** @type {Map<string, string[]>} */
  const groups = new Map();
  for (const test of row.skipped) groups.set(reasonOf(test), [...(groups.get(reasonOf(test)) ?? []), test.name]);
  return [...groups].flatMap(([reason, names]) => {
    const shown = names.slice(0, namesShown).map((name) => `    - ${name}`);
    const rest = names.length > namesShown ? [`    - and ${names.length - namesShown} more`] : [];
    return [`  ${row.name}: ${names.length} skipped: ${reason}`, ...shown, ...rest];
  });
}

/** @param {LaneRow} row @returns {string} */
function why(row) {
  if (row.missing !== undefined) return `not run: ${row.missing}`;
  return [...new Set(row.skipped.map(reasonOf))].join("; ");
}

/** @param {readonly LaneRow[]} rows @returns {string} several lines: skipped tests, failures, and the table */
export function laneTable(rows) {
  const skipped = rows.flatMap(skippedLines);
  const failed = rows.flatMap((row) => row.failed.map((name) => `  ${row.name}: ${name}`));
  const cells = [
    ["lane", "passed", "failed", "skipped", "why"],
    ...rows.map((row) => [row.name, `${row.passed}`, `${row.failed.length}`, `${row.skipped.length}`, why(row)]),
  ];
  return [
    ...(skipped.length > 0 ? ["", "Skipped:", ...skipped] : []),
    ...(failed.length > 0 ? ["", "Failed:", ...failed] : []),
    "",
    ...aligned(cells, new Set([0, 4])),
    "",
  ].join("\n");
}

/** @param {readonly string[][]} cells @param {ReadonlySet<number>} left columns that begin at the left @returns {string[]} */
function aligned(cells, left) {
  const widths = (cells[0] ?? []).map((_, column) => Math.max(...cells.map((line) => (line[column] ?? "").length)));
  const cell = (/** @type {string} */ text, /** @type {number} */ column) =>
    left.has(column) ? text.padEnd(widths[column] ?? 0) : text.padStart(widths[column] ?? 0);
  return cells.map((line) => line.map(cell).join("  ").trimEnd());
}

/** @param {readonly LaneRow[]} rows @returns {string} cases of each kernel that passed, lane by lane; empty without any */
export function kernelTable(rows) {
  const lanes = rows.filter((row) => Object.keys(row.kernels).length > 0);
  if (lanes.length === 0) return "";
  const names = [...new Set(lanes.flatMap((row) => Object.keys(row.kernels)))].sort();
  const total = (/** @type {LaneRow} */ row) => Object.values(row.kernels).reduce((a, b) => a + b, 0);
  const cells = [
    ["kernel cases", ...lanes.map((row) => row.name)],
    ...names.map((name) => [name, ...lanes.map((row) => `${row.kernels[name] ?? 0}`)]),
    ["in all", ...lanes.map((row) => `${total(row)}`)],
  ];
  return [...aligned(cells, new Set([0])), ""].join("\n");
}

/**
 * Where a lane has too few cases of its kernels; for whole runs only, since a filter leaves most out.
 * @param {Pick<LaneRow, "kernels">} row @returns {string[]}
 */
export function tooFewCases({ kernels }) {
  const counts = Object.entries(kernels).filter(([name]) => !harness.has(name));
  if (counts.length === 0) return [];
  const total = counts.reduce((sum, [, count]) => sum + count, 0);
  return [
    ...counts
      .filter(([, count]) => count < leastCasesOfKernel)
      .map(([name, count]) => `kernel ${name}: ${count} cases, at least ${leastCasesOfKernel} are wanted`),
    ...(total < leastCases ? [`kernels: ${total} cases, at least ${leastCases} are wanted`] : []),
  ];
}

/** @param {readonly LaneRow[]} rows @returns {string} the last line */
export function totals(rows) {
  const sum = (/** @type {(row: LaneRow) => number} */ of) => rows.reduce((total, row) => total + of(row), 0);
  const skipped = sum((row) => row.skipped.length);
  const counts = `${sum((row) => row.passed)} passed, ${sum((row) => row.failed.length)} failed`;
  return skipped > 0 ? `${counts}, ${skipped} skipped` : counts;
}
