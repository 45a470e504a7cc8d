// The end of `npm test`: what each lane did, what it left out and why.

/** @typedef {import("./reporter.mjs").LaneReport & { name: string, missing: string | undefined }} LaneRow */

const namesShown = 20;

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
  const widths = [0, 1, 2, 3].map((column) => Math.max(...cells.map((line) => (line[column] ?? "").length)));
  const table = cells.map((line) =>
    line
      .map((cell, column) =>
        column === 0 || column === 4 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0),
      )
      .join("  ")
      .trimEnd(),
  );
  return [
    ...(skipped.length > 0 ? ["", "Skipped:", ...skipped] : []),
    ...(failed.length > 0 ? ["", "Failed:", ...failed] : []),
    "",
    ...table,
    "",
  ].join("\n");
}

/** @param {readonly LaneRow[]} rows @returns {string} the last line */
export function totals(rows) {
  const sum = (/** @type {(row: LaneRow) => number} */ of) => rows.reduce((total, row) => total + of(row), 0);
  const skipped = sum((row) => row.skipped.length);
  const counts = `${sum((row) => row.passed)} passed, ${sum((row) => row.failed.length)} failed`;
  return skipped > 0 ? `${counts}, ${skipped} skipped` : counts;
}
