import { describe, expect, it } from "vitest";
import { TokenizerError } from "../../src/base/errors.ts";
import { compileDecoder } from "../../src/text/decoder.ts";
import { readFixtureJson } from "../support/fixtures.ts";

interface Parts {
  pieces: string[][];
  /** Null where the reference crashes. */
  decoders: { json: unknown; decoded: (string | null)[] }[];
}

const { pieces, decoders } = await readFixtureJson<Parts>("tests/fixtures/tokenizers/parts.json");

/** What each push gives, and the flush. */
function decode(json: unknown, tokens: string[], added: string[] = []): string[] {
  const stage = compileDecoder(json, new Set(added))();
  return [...tokens.map((token) => stage.push(token).join("")), stage.flush().join("")];
}

describe("decoders give what the Rust reference gives", () => {
  for (const { json, decoded } of decoders) {
    it(JSON.stringify(json), () => {
      pieces.forEach((row, i) => {
        if (decoded[i] !== null) expect(decode(json, row).join(""), JSON.stringify(row)).toBe(decoded[i]);
      });
    });
  }

  it("no decoder: spaces between tokens", () => {
    expect(decode(null, ["a", "b", "c"])).toEqual(["a", " b", " c", ""]);
  });
});

describe("byte-level", () => {
  const json = { type: "ByteLevel" };

  it("waits for the rest of a character, and shows all that is whole", () => {
    expect(decode(json, ["a", "ðŁ", "¦", "Ĭ!", "Ã"])).toEqual(["a", "", "", "🦊!", "", "\ufffd"]);
  });

  it("replaces what is broken as soon as that is certain", () => {
    expect(decode(json, ["ðŁ", "a", "ÿ", "¦¦"])).toEqual(["", "\ufffda", "\ufffd", "\ufffd\ufffd", ""]);
  });

  it("keeps a byte order mark, and NUL", () => {
    expect(decode(json, ["ï»¿", "Ā", "ï»¿x"]).join("")).toBe("\ufeff\0\ufeffx");
  });

  it("takes an added token as text even where its letters stand for bytes, and it ends what was unfinished", () => {
    expect(decode(json, ["Ã", "Käse", "¼"], ["Käse"])).toEqual(["", "\ufffdKäse", "\ufffd", ""]);
  });
});

describe("byte fallback", () => {
  const json = { type: "Sequence", decoders: [{ type: "ByteFallback" }, { type: "Fuse" }] };

  it("waits for the rest of a character", () => {
    expect(decode(json, ["<0xE2>", "<0x82>", "<0xAC>", "<0x0A>", "<0xE2>", "x"])).toEqual([
      "",
      "",
      "€",
      "\n",
      "",
      "\ufffdx",
      "",
    ]);
  });

  it("keeps a byte order mark", () => {
    expect(decode(json, ["<0xEF>", "<0xBB>", "<0xBF>"]).join("")).toBe("\ufeff");
  });
});

describe("strip after fuse holds over the whole text", () => {
  const strip = (start: number, stop: number) => ({
    type: "Sequence",
    decoders: [{ type: "Fuse" }, { type: "Strip", content: " ", start, stop }],
  });

  it("at its beginning, once", () => {
    expect(decode(strip(1, 0), [" a", " b"])).toEqual(["a", " b", ""]);
    expect(decode(strip(1, 0), ["", " ", " ", "a"])).toEqual(["", "", " ", "a", ""]);
    expect(decode(strip(3, 0), [" ", "a ", " b"])).toEqual(["", "a ", " b", ""]);
  });

  it("at its end, holding back what may have to go", () => {
    expect(decode(strip(0, 2), ["a ", " ", " ", "b ", " "])).toEqual(["a", "", " ", "  b", "", ""]);
  });
});

describe("what is not supported is refused", () => {
  const cases: unknown[] = [
    "ByteLevel",
    { type: "CTC" },
    { type: "BPEDecoder", suffix: "</w>" },
    { type: "Sequence" },
    { type: "Sequence", decoders: [{ type: "Fuse" }, { type: "ByteFallback" }] },
    { type: "Sequence", decoders: [{ type: "ByteLevel" }, { type: "Metaspace" }] },
    { type: "Replace", pattern: { Regex: "(" }, content: "" },
    { type: "Replace", pattern: null, content: "" },
    { type: "Strip", content: "  ", start: 1, stop: 0 },
    { type: "Strip", content: " ", start: -1, stop: 0 },
  ];
  for (const json of cases) {
    it(JSON.stringify(json), () => {
      expect(() => compileDecoder(json, new Set())).toThrow(TokenizerError);
      expect(() => compileDecoder(json, new Set())).toThrow(/Supported decoders: ByteLevel/);
    });
  }
});
