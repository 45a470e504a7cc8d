import { describe, expect, it } from "vitest";
import { parseAddress } from "../../demo/load.ts";
import { ArgumentError } from "../../src/index.ts";

const base = "https://page.example/demo/";
const parse = (typed: string) => parseAddress(typed, base);

describe("parseAddress", () => {
  it("takes a Hub id as it is", () => {
    expect(parse(" org/some.model-1B ")).toEqual({ name: "org/some.model-1B", source: "org/some.model-1B" });
  });

  it("takes the page of a model on the Hub for its id", () => {
    for (const page of ["", "/", "/tree/main"]) {
      expect(parse(`https://huggingface.co/org/name${page}`).source).toBe("org/name");
    }
    expect(parse("https://huggingface.co/org/name/resolve/main/").source).toMatch(/^https:/);
    expect(parse("https://other.example/org/name").source).toBe("https://other.example/org/name");
  });

  it("takes addresses of folders, relative ones against the page", () => {
    expect(parse("https://host.example/models/small/")).toEqual({
      name: "small",
      source: "https://host.example/models/small/",
    });
    expect(parse("./model/").source).toBe("https://page.example/demo/model/");
    expect(parse("/models/a%20b")).toEqual({ name: "a%20b", source: "https://page.example/models/a%20b" });
    expect(parse("https://host.example").name).toBe("host.example");
  });

  it.each(["", "   ", "nonsense", "a/b/c", "ftp://host/x", "file:///etc/model", "javascript:alert(1)", "https://"])(
    "refuses %j and says what it takes",
    (typed) => {
      expect(() => parse(typed)).toThrow(ArgumentError);
      expect(() => parse(typed)).toThrow(/org\/name/);
    },
  );

  it("does not stumble over a stray percent sign", () => {
    expect(parse("https://host.example/100%/").name).toBe("100%");
  });
});
