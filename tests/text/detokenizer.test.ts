import { Tokenizer as HuggingFaceTokenizer } from "@huggingface/tokenizers";
import { describe, expect, it } from "vitest";
import { Tokenizer, type DetokenizerOptions } from "../../src/text/tokenizer.ts";
import { readFixtureJson, readSharedJson, sharedSource } from "../support/fixtures.ts";
import { seeded } from "./random.ts";

interface File {
  added_tokens: { id: number; content: string }[];
}

/** One tokenizer, ours and the package's own: the package decodes all ids at once, and knows nothing of ours. */
function pair(json: File): { ours: Tokenizer; reference: (ids: number[], skip: boolean) => string } {
  const package_ = new HuggingFaceTokenizer(json, { clean_up_tokenization_spaces: false });
  return {
    ours: Tokenizer.parse(json),
    reference: (ids, skip) => (ids.length === 0 ? "" : package_.decode(ids, { skip_special_tokens: skip })),
  };
}

const own = (name: string) => readFixtureJson<File>(`tests/fixtures/tokenizers/${name}.json`);

function pieces(tokenizer: Tokenizer, ids: readonly number[], options?: DetokenizerOptions): string[] {
  const detokenizer = tokenizer.detokenizer(options);
  return [...ids.map((id) => detokenizer.push(id)), detokenizer.flush()];
}

/** Random ids, of which half come from `favoured`: bytes that make broken characters, special tokens. */
function randomIds(below: (n: number) => number, vocabSize: number, favoured: readonly number[]): number[] {
  return Array.from({ length: below(60) }, () => (below(2) ? favoured[below(favoured.length)]! : below(vocabSize)));
}

function check(json: File, rounds: number, seed: number, favoured: (tokenizer: Tokenizer) => number[]): void {
  const { ours, reference } = pair(json);
  const likely = favoured(ours);
  const below = seeded(seed);
  for (let round = 0; round < rounds; round++) {
    const ids = randomIds(below, ours.vocabSize, likely);
    for (const skipSpecialTokens of [true, false]) {
      const parts = pieces(ours, ids, { skipSpecialTokens });
      const whole = reference(ids, skipSpecialTokens);
      expect(parts.join(""), JSON.stringify(ids)).toBe(whole);
      expect(ours.decode(ids, { skipSpecialTokens })).toBe(whole);
      expect(parts.filter((part) => /\p{Surrogate}/u.test(part))).toEqual([]); // no half of a pair
    }
  }
}

/** Bytes of multi-byte characters, a space, an emoji's parts, and the special tokens. */
function awkward(tokenizer: Tokenizer): number[] {
  const byteTokens = ["C3", "A9", "E2", "82", "AC", "F0", "9F", "A6", "8A", "FF", "0A"].map((hex) => `<0x${hex}>`);
  const letters = ["Ã", "©", "â", "Ĥ", "¬", "ð", "Ł", "¦", "Ĭ", "ÿ", "Ċ", "Ġ", "▁", "▁▁", "a"];
  const special = ["<s>", "</s>", "<|endoftext|>", "<|im_start|>", "Käse"];
  return [...byteTokens, ...letters, ...special].map((t) => tokenizer.tokenId(t)).filter((id) => id !== undefined);
}

describe("the sum of the pieces is the text of all ids", () => {
  for (const name of ["byte-level", "byte-fallback"]) {
    it(`${name}: 1,000 random id sequences, broken characters included`, async () => {
      check(await own(name), 1000, 1, awkward);
    }, 60_000);
  }

  const folder = "tokenizers";
  for (const name of ["deepseek-llm", "gpt2", "llama2", "llama3", "mistral-v3", "phi-3-mini", "qwen3", "smollm2"]) {
    it.skipIf(sharedSource(folder) === null)(
      `${name}: 100 random id sequences (needs the shared data)`,
      async () => {
        check((await readSharedJson<File>(`${folder}/${name}/tokenizer.json`))!, 100, 2, awkward);
      },
      60_000,
    );
  }
});

describe("what is held back is no more than it must be", () => {
  const texts = ["The fox asked the wind.", "naïve été Ünï", "狐は家に帰りました。", "🦊🪁 👩‍💻 🇩🇪 👍🏽", "a\n\n\tb  c  "];
  for (const name of ["byte-level", "byte-fallback"]) {
    it(`${name}: after each token, every whole character has been shown`, async () => {
      const tokenizer = Tokenizer.parse(await own(name));
      for (const text of texts) {
        const ids = tokenizer.encode(text);
        const parts = pieces(tokenizer, ids);
        expect(parts.join("")).toBe(text);
        let shown = "";
        ids.forEach((_, i) => {
          shown += parts[i]!;
          // The text of the ids so far, less the U+FFFD that stand for an unfinished end.
          expect(shown).toBe(tokenizer.decode(ids.slice(0, i + 1)).replace(/\ufffd+$/, ""));
        });
        expect(parts.at(-1)).toBe("");
      }
    });
  }

  it("an end that stays unfinished comes with the flush", async () => {
    const tokenizer = Tokenizer.parse(await own("byte-fallback"));
    const ids = ["▁the", "<0xF0>", "<0x9F>"].map((t) => tokenizer.tokenId(t)!);
    expect(pieces(tokenizer, ids)).toEqual(["the", "", "", "\ufffd"]);
  });
});

describe("after a prompt", () => {
  it("keeps the leading space that the beginning of a text loses", async () => {
    const tokenizer = Tokenizer.parse(await own("byte-fallback"));
    const [prompt, rest] = [tokenizer.encode("the fox"), [tokenizer.tokenId("▁kite")!]];
    expect(pieces(tokenizer, rest)).toEqual(["kite", ""]);
    expect(pieces(tokenizer, rest, { after: prompt })).toEqual([" kite", ""]);
    expect(pieces(tokenizer, rest, { after: [1] })).toEqual(["kite", ""]); // BOS is no text
  });

  it("continues the text exactly, wherever it is cut", async () => {
    const tokenizer = Tokenizer.parse(await own("byte-level"));
    const ids = tokenizer.encode("The kite 🪁 flew, 狐は家に。");
    const whole = tokenizer.decode(ids);
    for (let cut = 0; cut <= ids.length; cut++) {
      const before = tokenizer.detokenizer();
      const shown = ids.slice(0, cut).map((id) => before.push(id));
      expect(shown.join("") + pieces(tokenizer, ids.slice(cut), { after: ids.slice(0, cut) }).join("")).toBe(whole);
    }
  });
});

describe("the work for an id", () => {
  it("does not grow with the ids before it: 200,000 are nothing special", async () => {
    const tokenizer = Tokenizer.parse(await own("byte-level"));
    const ids = Array.from({ length: 200_000 }, (_, i) => 256 + (i % 200));
    const detokenizer = tokenizer.detokenizer();
    let length = 0;
    for (const id of ids) length += detokenizer.push(id).length;
    expect(length + detokenizer.flush().length).toBe(tokenizer.decode(ids).length);
  }, 60_000);
});
