import { SequencePreTokenizer } from "@huggingface/tokenizers";
import { describe, expect, it } from "vitest";
import { TokenizerError } from "../../src/base/errors.ts";
import { mendPreTokenizer } from "../../src/text/pretokenizer.ts";
import { readFixtureJson } from "../support/fixtures.ts";

interface Parts {
  texts: string[];
  preTokenizers: { json: Record<string, unknown>; pieces: string[][] }[];
}

const { texts, preTokenizers } = await readFixtureJson<Parts>("tests/fixtures/tokenizers/parts.json");

type Config = ConstructorParameters<typeof SequencePreTokenizer>[0];

function pieces(json: unknown, text: string): string[] {
  return text === "" ? [] : new SequencePreTokenizer({ pretokenizers: [json] } as unknown as Config).pre_tokenize(text);
}

describe("mended pre-tokenizers split as the Rust reference", () => {
  for (const { json, pieces: golden } of preTokenizers) {
    it(JSON.stringify(json), () => {
      const mended = mendPreTokenizer(json);
      texts.forEach((text, i) => expect(pieces(mended, text), JSON.stringify(text)).toEqual(golden[i]));
    });
  }

  it("and they need it: unmended, the package splits each kind otherwise", () => {
    const wrong = preTokenizers.filter(({ json, pieces: golden }) =>
      texts.some((text, i) => JSON.stringify(pieces(json, text)) !== JSON.stringify(golden[i])),
    );
    const types = [...new Set(wrong.map(({ json }) => json.type))];
    // When a new version of the package shortens this list, the mending of what left it can go.
    expect(types).toEqual(["Digits", "ByteLevel", "Whitespace", "Metaspace", "Punctuation", "Split", "Sequence"]);
  });
});

describe("pre-tokenizers outside of that", () => {
  it("stay as they are", () => {
    for (const json of [null, { type: "BertPreTokenizer" }, { type: "ByteLevel", add_prefix_space: true }]) {
      expect(mendPreTokenizer(json)).toEqual(json);
    }
  });

  it("are refused where they cannot be said exactly", () => {
    const split = { type: "Split", pattern: { String: " " }, behavior: "Isolated", invert: false };
    for (const json of [
      { ...split, invert: true },
      { ...split, behavior: "Sideways" },
      { ...split, pattern: {} },
      { type: "Sequence", pretokenizers: [{ ...split, behavior: undefined }] },
    ]) {
      expect(() => mendPreTokenizer(json)).toThrow(TokenizerError);
    }
  });
});
