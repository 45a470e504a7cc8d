import { expect, it } from "vitest";
import { openNotes } from "../../src/store/notes.ts";

it("keeps notes in the page's database", async () => {
  const key = `test ${Math.random()}`;
  expect(await openNotes().read(key)).toBe(null);
  await openNotes().write(key, "1");
  await openNotes().write(key, "2");
  expect(await openNotes().read(key)).toBe("2");
});
