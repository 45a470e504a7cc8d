// Finding, in apt's own configuration, how to ask the same mirror for one more suite. Pure: text in, text out.

/** @typedef {{ kind: "sources" | "list", text: string }} AptSource */

/** @param {string} stanza of a deb822 file @returns {Map<string, string>} fields by lower-case name */
function fields(stanza) {
  /** @type {Map<string, string>} */
  const result = new Map();
  let name = "";
  for (const line of stanza.split("\n")) {
    if (line.startsWith("#")) continue;
    const start = /^([A-Za-z-]+):\s*(.*)$/.exec(line);
    if (start) result.set((name = (start[1] ?? "").toLowerCase()), start[2] ?? "");
    else if (/^\s/.test(line) && name !== "") result.set(name, `${result.get(name)}\n${line}`); // an embedded key
  }
  return result;
}

/** @param {string | undefined} value */
const words = (value) => (value ?? "").split(/\s+/).filter((word) => word !== "");

/**
 * @param {string} text a `.sources` file @param {string} release @param {string} suite
 * @returns {AptSource | "present" | "absent"}
 */
function fromDeb822(text, release, suite) {
  const stanzas = text.split(/\n(?:[ \t]*\n)+/).map(fields);
  const binary = stanzas.filter(
    (stanza) => words(stanza.get("types")).includes("deb") && stanza.get("enabled")?.toLowerCase() !== "no",
  );
  if (binary.some((stanza) => words(stanza.get("suites")).includes(suite))) return "present";
  const main = binary.find((stanza) => words(stanza.get("suites")).includes(release));
  if (main === undefined) return "absent";
  const key = main.get("signed-by");
  const lines = ["Types: deb", `URIs: ${main.get("uris")}`, `Suites: ${suite}`, "Components: main"];
  if (key !== undefined) lines.push(`Signed-By: ${key}`);
  return { kind: "sources", text: lines.join("\n") + "\n" };
}

/**
 * @param {string} text a `.list` file @param {string} release @param {string} suite
 * @returns {AptSource | "present" | "absent"}
 */
function fromList(text, release, suite) {
  const entries = text.split("\n").flatMap((line) => {
    const match = /^\s*deb\s+(\[[^\]]*\]\s+)?(\S+)\s+(\S+)\s+\S/.exec(line);
    return match ? [{ options: match[1] ?? "", uri: match[2], suite: match[3] }] : [];
  });
  if (entries.some((entry) => entry.suite === suite)) return "present";
  const main = entries.find((entry) => entry.suite === release);
  return main === undefined ? "absent" : { kind: "list", text: `deb ${main.options}${main.uri} ${suite} main\n` };
}

/**
 * The source to add so that `suite` comes from where `release` comes from, with the same key.
 * @param {Record<string, string>} files what apt reads: text by file name (`.sources` is deb822, the rest classic)
 * @param {string} release such as "bookworm" @param {string} suite such as "bookworm-backports"
 * @returns {AptSource | "present" | "absent"} "present": nothing to add; "absent": `release` itself is not there
 */
export function backportsSource(files, release, suite) {
  const found = Object.entries(files).map(([name, text]) =>
    name.endsWith(".sources") ? fromDeb822(text, release, suite) : fromList(text, release, suite),
  );
  if (found.includes("present")) return "present";
  return found.find((source) => source !== "absent") ?? "absent";
}
