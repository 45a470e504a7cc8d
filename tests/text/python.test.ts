import { describe, expect, it } from "vitest";
import { strftime, strip } from "../../src/text/python.ts";

describe("strip, as Python's", () => {
  it("takes white space as str.isspace has it", () => {
    expect(strip(" \t\n\x1c\x85\xa0\u2003\u3000a b\r\n ", "both")).toBe("a b");
    expect(strip("\ufeffa\u200b", "both")).toBe("\ufeffa\u200b");
    expect(strip(" \n ", "both")).toBe("");
    expect(strip("", "left")).toBe("");
  });

  it("works at one end", () => {
    expect(strip("  a  ", "left")).toBe("a  ");
    expect(strip("  a  ", "right")).toBe("  a");
  });

  it("takes any of the characters given, whole ones", () => {
    expect(strip("xyaxyx", "both", "yx")).toBe("a");
    expect(strip("🦊a🦋🦊", "both", "🦊")).toBe("a🦋");
    expect(strip("🦋", "both", "🦊")).toBe("🦋"); // the same first half
    expect(strip("a", "both", "")).toBe("a");
  });
});

describe("strftime, as Python's in the C locale", () => {
  const date = new Date(2024, 1, 3, 15, 4, 5);
  it("knows the directives that templates use", () => {
    expect(strftime(date, "%Y-%m-%d %H:%M:%S")).toBe("2024-02-03 15:04:05");
    expect(strftime(date, "%A %a %B %b %y %j %I %p %%")).toBe("Saturday Sat February Feb 24 034 03 PM %");
    expect(strftime(new Date(2023, 11, 31, 0, 0, 0), "%j %I %p")).toBe("365 12 AM");
  });
  it("pads nothing with a minus, and leaves what it does not know", () => {
    expect(strftime(date, "%-d.%-m. %-H %Q 100%")).toBe("3.2. 15 %Q 100%");
    expect(strftime(new Date(2024, 0, 1), "%-H:%-M")).toBe("0:0");
  });
});
