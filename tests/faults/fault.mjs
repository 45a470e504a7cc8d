/**
 * A fault that one could make in a kernel: one exact replacement.
 * @typedef {object} Fault
 * @property {string} id
 * @property {string} file from the repository's root
 * @property {string} find occurs exactly once in the file
 * @property {string} replace
 * @property {string[]} tests filters of test files
 * @property {string[]} [lanes] where it is tried in turn until it shows; lavapipe alone where absent
 * @property {string} [match] a pattern of the names of the tests that can tell, where running all of them takes long
 */

/** Barriers: lavapipe runs some lanes of a workgroup in step, SwiftShader others. */
export const anyDriver = { lanes: ["dawn-lavapipe", "dawn-swiftshader"] };
export const pure = { lanes: ["pure"] };

/** @typedef {[id: string, find: string, replace: string, options?: { lanes?: string[], match?: string }]} Row */

/** @param {string} file @param {string[]} tests @param {Row[]} list @returns {Fault[]} */
export function faultsOf(file, tests, list) {
  return list.map(([id, find, replace, options]) => ({ id, file, find, replace, tests, ...options }));
}
