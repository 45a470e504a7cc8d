// What must not be in a tracked file: the address of a registry or a mirror (it may be a private one), a path that
// exists on one machine only, a dependency that is not pinned.

/** @type {readonly [RegExp, string][]} */
const traces = [
  [/\b(?:registry\.npmjs|registry\.yarnpkg|npm\.pkg\.github|pypi\.org|pythonhosted\.org)/, "the address of a registry"],
  [/\b(?:deb|security|snapshot|archive)\.(?:debian|ubuntu)\./, "the address of a package mirror"],
  [/(?<![\w.~/:-])\/(?:work|root|home|Users)\/[\w.-]/, "a path of one machine"],
];

/** @param {string} file @param {string} text @returns {string[]} "file:line: what it holds" */
export function findTraces(file, text) {
  return text.split("\n").flatMap((line, i) =>
    traces.flatMap(([pattern, what]) => {
      const match = pattern.exec(line);
      return match ? [`${file}:${i + 1}: ${what}: ${line.slice(match.index, match.index + 60).trim()}`] : [];
    }),
  );
}

/**
 * @typedef {Partial<Record<"dependencies" | "optionalDependencies" | "devDependencies" | "peerDependencies", Record<string, string>>>} Manifest
 * @param {Manifest} manifest package.json
 * @param {{ packages: Record<string, { resolved?: string, integrity?: string, link?: boolean } & Manifest> }} lockfile
 * @returns {string[]}
 */
export function lockfileFaults(manifest, lockfile) {
  /** @type {string[]} */
  const faults = [];
  for (const group of /** @type {const} */ (["dependencies", "optionalDependencies", "devDependencies"])) {
    const [wanted, locked] = [manifest[group] ?? {}, lockfile.packages[""]?.[group] ?? {}];
    for (const [name, version] of Object.entries(wanted)) {
      if (!/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version)) faults.push(`package.json: ${name} is not pinned: ${version}`);
    }
    for (const name of new Set([...Object.keys(wanted), ...Object.keys(locked)])) {
      if (wanted[name] !== locked[name])
        faults.push(`package-lock.json: ${name} differs from package.json: run npm install`);
    }
  }
  for (const [path, entry] of Object.entries(lockfile.packages)) {
    if (entry.resolved !== undefined) faults.push(`package-lock.json: ${path} has an address (resolved): see .npmrc`);
    if (path !== "" && entry.integrity === undefined) faults.push(`package-lock.json: ${path} has no integrity hash`);
  }
  return faults;
}
