import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { packagesAreInstalled } from "../../scripts/lib/packages.mjs";

describe("packagesAreInstalled", () => {
  let folder: string;
  const write = (wanted: object, installed: object | null) => {
    writeFileSync(join(folder, "package-lock.json"), JSON.stringify({ packages: { "": {}, ...wanted } }));
    if (installed === null) return;
    mkdirSync(join(folder, "node_modules"));
    writeFileSync(join(folder, "node_modules/.package-lock.json"), JSON.stringify({ packages: installed }));
  };
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "tessera-"));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const a = { "node_modules/a": { version: "1.0.0" } };
  const other = { "node_modules/b-win32": { version: "2.0.0", optional: true } };
  it.each<[string, object, object | null, boolean]>([
    ["nothing", a, null, false],
    ["all", a, a, true],
    ["all but another system's", { ...a, ...other }, a, true],
    ["one too few", { ...a, "node_modules/c": { version: "1.0.0" } }, a, false],
    ["another version", { "node_modules/a": { version: "1.0.1" } }, a, false],
    ["another version of an optional one", other, { "node_modules/b-win32": { version: "1.0.0" } }, false],
  ])("with %s installed", (_what, wanted, installed, expected) => {
    write(wanted, installed);
    expect(packagesAreInstalled(folder)).toBe(expected);
  });
});
