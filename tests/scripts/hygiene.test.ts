import { describe, expect, it } from "vitest";
import { findTraces, lockfileFaults } from "../../scripts/lib/hygiene.mjs";

// Put together here, since this very file is searched for them.
const [npm, debian, python] = ["registry.", "deb.", "pypi."].map((s, i) => s + ["npmjs.org", "debian.org", "org"][i]);
const home = ["", "home", "ann", "x"].join("/");

describe("findTraces", () => {
  it.each([
    [`"https://${npm}/x"`, /a\.txt:1: the address of a registry/],
    [`pip install -i https://${python}/simple`, /registry/],
    [`URIs: http://${debian}/debian`, /package mirror/],
    [`const file = "${home}";`, /path of one machine/],
    [`read ${home}`, /path of one machine/],
  ])("finds what %s holds", (text, message) => {
    expect(findTraces("a.txt", text)).toEqual([expect.stringMatching(message)]);
  });

  it.each(["https://example.com/home/x", "the /work folder", "./root/x", "src/work/x.ts", "~/home/x", "/usr/share/x"])(
    "leaves %s alone",
    (text) => {
      expect(findTraces("a.txt", text)).toEqual([]);
    },
  );
});

describe("lockfileFaults", () => {
  const manifest = { dependencies: { a: "1.2.3" }, devDependencies: { b: "0.1.0-beta.2" } };
  const packages = { "": manifest, "node_modules/a": { integrity: "sha512-x" } };

  it("finds nothing wrong with an orderly one", () => {
    expect(lockfileFaults(manifest, { packages })).toEqual([]);
  });

  it.each<[string, Parameters<typeof lockfileFaults>[0], object, RegExp]>([
    ["an address", manifest, { ...packages, "node_modules/a": { integrity: "x", resolved: "https://x" } }, /address/],
    ["no hash", manifest, { ...packages, "node_modules/a": {} }, /no integrity/],
    [
      "an open version",
      { ...manifest, dependencies: { a: "^1.2.3" } },
      { "": { ...manifest, dependencies: { a: "^1.2.3" } } },
      /not pinned/,
    ],
    ["another version", { ...manifest, dependencies: { a: "1.2.4" } }, packages, /a differs/],
    ["a forgotten package", manifest, { "": {} }, /a differs/],
  ])("finds %s", (_what, wanted, locked, message) => {
    const faults = lockfileFaults(wanted, { packages: locked as Parameters<typeof lockfileFaults>[1]["packages"] });
    expect(faults[0]).toMatch(message);
  });
});
