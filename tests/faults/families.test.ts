import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { FAMILY_ROWS } from "../engine/families.ts";
import { repoRoot } from "../support/shared.ts";
import { faults } from "./faults.mjs";

/** A family is what models/index.ts finds by its model_type; each has to have a fault that turns a row of the oracle red. */
describe("seeded faults of the families", () => {
  const index = readFileSync(join(repoRoot, "src/models/index.ts"), "utf8");
  const listed = /const FAMILIES[^=]*= \[([^\]]*)\]/.exec(index)![1]!.match(/\w+/g)!;
  const files = new Map<string, string>();
  for (const [, names, file] of index.matchAll(/import \{ ([\w, ]+) \} from "\.\/(\w+)\.ts";/g)) {
    for (const name of names!.split(", ")) files.set(name, `src/models/${file!}.ts`);
  }
  const rows = Object.values(FAMILY_ROWS).flat();

  it("are looked for in every file of the index", () => {
    expect(listed.length).toBeGreaterThan(30);
    expect(listed.filter((name) => !files.has(name))).toEqual([]);
  });

  it.each(listed)("reach %s", (name) => {
    const ofFamily = faults.filter(
      ({ file, tests }) => file === files.get(name) && tests.some((test) => test.startsWith("tests/engine/families")),
    );
    // The name of a row that is there, so that the fault's tests are not none.
    const turned = ofFamily.filter(({ match }) => rows.some((row) => match?.startsWith(`^${row} `)));
    expect(turned.map(({ id }) => id)).not.toEqual([]);
  });
});
