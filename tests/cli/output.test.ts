import { expect, it } from "vitest";
import { formatBytes, formatCount } from "../../src/cli/output.ts";

it.each([
  [0, "0 bytes"],
  [999, "999 bytes"],
  [1000, "1.0 kB"],
  [99_940, "99.9 kB"],
  [123_456, "123 kB"],
  [999_600, "1.0 MB"],
  [2_370_432, "2.4 MB"],
  [16_000_000_000, "16.0 GB"],
  [5e15, "5000 TB"],
])("%i bytes are %s", (bytes, text) => {
  expect(formatBytes(bytes)).toBe(text);
});

it("groups digits", () => {
  expect([0, 999, 1185152].map(formatCount)).toEqual(["0", "999", "1,185,152"]);
});
