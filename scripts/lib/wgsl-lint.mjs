// Rules that no WGSL compiler holds for us. Each has its reason; there is no way to switch one off in a shader.

/** @param {string} source @returns {string} of the same length and lines, comments blanked */
function withoutComments(source) {
  const blank = (/** @type {string} */ text) => text.replace(/[^\n]/g, " ");
  return source.replace(/\/\/[^\n]*|\/\*[\s\S]*?\*\//g, blank);
}

/** @type {readonly { pattern: RegExp, message: string }[]} */
const rules = [
  {
    pattern: /\bvar\s+\w+\s*:\s*[^=;]+;/g,
    message: "no initialiser: write one (in a loop, Chrome and Dawn do not zero it again on each round)",
  },
  {
    pattern: /\b(?:sin|cos|tan)\s*\(/g,
    message: "wrong by 1e-2 at large arguments on some GPUs: use a table made on the host",
  },
  {
    pattern: /\bpow\s*\(/g,
    message: "slow, and NaN below 0: multiply, or use exp2 of an argument that is checked",
  },
];

/** @param {string} code @returns {{ index: number, message: string }[]} private or local arrays sized by an override */
function overrideSizes(code) {
  const names = [...code.matchAll(/\boverride\s+(\w+)/g)].map((match) => match[1]);
  if (names.length === 0) return [];
  const sized = new RegExp(`\\bvar(?!\\s*<\\s*workgroup)[^;{}]*\\barray<[^;]*,[^;>]*\\b(?:${names.join("|")})\\b`, "g");
  return [...code.matchAll(sized)].map(({ index }) => ({
    index,
    message: "an override cannot size a private array: generate the number into the source",
  }));
}

/**
 * @param {string} file its name, for the messages @param {string} source WGSL of a kernel or a fragment
 * @returns {string[]} "file:line: what is wrong"
 */
export function lintWgsl(file, source) {
  const code = withoutComments(source);
  const found = rules.flatMap(({ pattern, message }) =>
    [...code.matchAll(pattern)].map(({ index }) => ({ index, message })),
  );
  found.push(...overrideSizes(code));
  if (!/^\s*\/[/*]/.test(source)) {
    found.push({ index: 0, message: "no comment at its head: state the contract (shapes, types, grid)" });
  }
  return found
    .sort((a, b) => a.index - b.index)
    .map(({ index, message }) => {
      const line = code.slice(0, index).split("\n").length;
      return `${file}:${line}: ${source.split("\n")[line - 1]?.trim()}: ${message}`;
    });
}
