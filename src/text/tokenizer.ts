import { Tokenizer as HuggingFaceTokenizer } from "@huggingface/tokenizers";
import { TokenizerError } from "../base/errors.ts";
import { compileDecoder, type StageFactory } from "./decoder.ts";
import { Detokenizer } from "./detokenizer.ts";
import { mendPreTokenizer } from "./pretokenizer.ts";

export interface DetokenizerOptions {
  /** Special tokens give no text; default true. */
  skipSpecialTokens?: boolean;
  /**
   * Ids that come before the text, such as the prompt's. The text then continues theirs: it keeps a leading space
   * that the beginning of a text would lose, and finishes a character that they left unfinished.
   */
  after?: readonly number[];
}

interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly special?: boolean;
  readonly normalized?: boolean;
}

type Json = Readonly<Record<string, unknown>>;

/**
 * A checkpoint's tokenizer: tokenizer.json and tokenizer_config.json, read as Hugging Face's AutoTokenizer reads them.
 * Encoding is @huggingface/tokenizers, decoding is ours (decoder.ts). `clean_up_tokenization_spaces` is not followed:
 * for BPE the reference (transformers ≥ 5) ignores it too, since it eats the spaces before punctuation.
 */
export class Tokenizer {
  /** One more than the highest id. A model's embedding may have more rows: those ids give no text. */
  readonly vocabSize: number;
  readonly bosToken: string | undefined;
  readonly eosToken: string | undefined;
  /** The Jinja source of the checkpoint's chat template; of several, the one named "default". */
  readonly chatTemplate: string | undefined;
  readonly #encoder: HuggingFaceTokenizer;
  readonly #decoder: StageFactory;
  readonly #special: ReadonlySet<number>;
  /** Ids to put around a text where tokenizer_config.json decides it, else undefined: tokenizer.json does. */
  readonly #around: { readonly before: number[]; readonly after: number[] } | undefined;

  private constructor(json: Json, config: Json) {
    const added = addedTokens(json, config);
    this.vocabSize = 1 + highestId(json.model as Json, added);
    this.#encoder = new HuggingFaceTokenizer(
      {
        normalizer: null,
        post_processor: null,
        ...json,
        model: typedModel(json.model as Json),
        pre_tokenizer: mendPreTokenizer(json.pre_tokenizer ?? null),
        decoder: null,
        added_tokens: added,
      },
      config,
    );
    this.#decoder = compileDecoder(json.decoder, new Set(added.map((token) => token.content)));
    this.#special = new Set(added.filter((token) => token.special).map((token) => token.id));
    this.bosToken = tokenText(config.bos_token);
    this.eosToken = tokenText(config.eos_token);
    this.chatTemplate = chatTemplate(config.chat_template);
    this.#around = this.#configuredAround(config);
  }

  /**
   * `tokenizerJson`, `tokenizerConfig`: the parsed files. Throws TokenizerError where tokenizer.json is not what this
   * library can run exactly.
   */
  static parse(tokenizerJson: unknown, tokenizerConfig?: unknown): Tokenizer {
    if (!isObject(tokenizerJson) || !isObject(tokenizerJson.model)) {
      throw new TokenizerError(
        "tokenizer.json: there is no model in it. Use the tokenizer.json that Hugging Face's tokenizers library writes.",
      );
    }
    if (tokenizerConfig !== undefined && tokenizerConfig !== null && !isObject(tokenizerConfig)) {
      throw new TokenizerError("tokenizer_config.json: expected an object. Take the file from the checkpoint again.");
    }
    try {
      return new Tokenizer(tokenizerJson, tokenizerConfig ?? {});
    } catch (cause) {
      if (cause instanceof TokenizerError) throw cause;
      const what = cause instanceof Error ? cause.message : String(cause);
      throw new TokenizerError(`tokenizer.json cannot be used: ${what}. Take the file from the checkpoint again.`, {
        cause,
      });
    }
  }

  /**
   * The ids of a text. `specialTokens` (default true) puts the tokenizer's own around it, such as BOS; turn it off for
   * a rendered chat template, which has them. The names of special tokens within the text become those tokens.
   */
  encode(text: string, options: { specialTokens?: boolean } = {}): number[] {
    const special = options.specialTokens ?? true;
    if (!special || this.#around === undefined) {
      return this.#encoder.encode(text, { add_special_tokens: special }).ids;
    }
    const ids = this.#encoder.encode(text, { add_special_tokens: false }).ids;
    return [...this.#around.before, ...ids, ...this.#around.after];
  }

  /** The text of ids. Bytes that are not UTF-8 become U+FFFD; ids that the vocabulary lacks give no text. */
  decode(ids: readonly number[], options: { skipSpecialTokens?: boolean } = {}): string {
    const detokenizer = this.detokenizer(options);
    let text = "";
    for (const id of ids) text += detokenizer.push(id);
    return text + detokenizer.flush();
  }

  /** For a text whose ids come one by one. */
  detokenizer(options: DetokenizerOptions = {}): Detokenizer {
    const skip = options.skipSpecialTokens ?? true;
    const pieceOf = (id: number) => (skip && this.#special.has(id) ? undefined : this.#encoder.id_to_token(id));
    const detokenizer = new Detokenizer(pieceOf, this.#decoder());
    for (const id of options.after ?? []) detokenizer.push(id);
    return detokenizer;
  }

  tokenId(token: string): number | undefined {
    return this.#encoder.token_to_id(token);
  }

  isSpecial(id: number): boolean {
    return this.#special.has(id);
  }

  #configuredAround(config: Json): { before: number[]; after: number[] } | undefined {
    const { add_bos_token: bos, add_eos_token: eos } = config;
    if (typeof bos !== "boolean" && typeof eos !== "boolean") return undefined;
    const ids = (wanted: unknown, field: string, token: string | undefined) => {
      if (wanted !== true || token === undefined) return [];
      const id = this.tokenId(token);
      if (id !== undefined) return [id];
      throw new TokenizerError(
        `tokenizer_config.json: ${field} is ${JSON.stringify(token)}, which tokenizer.json does not know. ` +
          "The two files are not of the same checkpoint.",
      );
    };
    return { before: ids(bos, "bos_token", this.bosToken), after: ids(eos, "eos_token", this.eosToken) };
  }
}

function isObject(x: unknown): x is Json {
  return typeof x === "object" && x !== null && !Array.isArray(x);
}

/** Special tokens are given as a string or as `{ content }`. */
function tokenText(token: unknown): string | undefined {
  if (typeof token === "string") return token;
  return isObject(token) && typeof token.content === "string" ? token.content : undefined;
}

/**
 * The added tokens of tokenizer.json; those that only tokenizer_config.json has; and the special tokens it names
 * that are ordinary entries of the vocabulary. All that are named are special.
 */
function addedTokens(json: Json, config: Json): AddedToken[] {
  const listed: unknown = json.added_tokens ?? [];
  if (!Array.isArray(listed)) throw new TokenizerError("tokenizer.json: added_tokens is not a list.");
  const added = new Map<string, AddedToken>();
  for (const fields of listed as unknown[]) {
    const token = checkedToken("tokenizer.json", fields);
    added.set(token.content, token);
  }
  const ids = new Set([...added.values()].map((token) => token.id));
  const configured = isObject(config.added_tokens_decoder) ? Object.entries(config.added_tokens_decoder) : [];
  for (const [id, fields] of configured) {
    const token = checkedToken("tokenizer_config.json", isObject(fields) ? { ...fields, id: Number(id) } : fields);
    if (!added.has(token.content) && !ids.has(token.id)) added.set(token.content, token);
  }
  for (const content of namedSpecial(config)) {
    const id = added.get(content)?.id ?? vocabularyId((json.model as Json).vocab, content);
    if (id !== undefined) added.set(content, { normalized: false, ...added.get(content), id, content, special: true });
  }
  return [...added.values()];
}

const NAMED_SPECIAL = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

function namedSpecial(config: Json): string[] {
  const lists = [config.additional_special_tokens, config.extra_special_tokens];
  const extra = lists.flatMap((list) => (Array.isArray(list) ? (list as unknown[]) : []));
  return [...NAMED_SPECIAL.map((field) => config[field]), ...extra].map(tokenText).filter((text) => text !== undefined);
}

function vocabularyId(vocab: unknown, token: string): number | undefined {
  if (isObject(vocab)) return Object.hasOwn(vocab, token) ? (vocab[token] as number) : undefined;
  const index = Array.isArray(vocab) ? vocab.findIndex((entry) => Array.isArray(entry) && entry[0] === token) : -1;
  return index < 0 ? undefined : index;
}

function checkedToken(file: string, token: unknown): AddedToken {
  if (isObject(token) && typeof token.content === "string" && token.content !== "" && isId(token.id)) {
    return token as unknown as AddedToken;
  }
  throw new TokenizerError(`${file}: ${JSON.stringify(token)} is not an added token with a content and an id.`);
}

/** Far above any vocabulary, and small enough that a table of that length is harmless. */
const MAX_ID = 2 ** 24;

function isId(id: unknown): id is number {
  return typeof id === "number" && Number.isInteger(id) && id >= 0 && id < MAX_ID;
}

function highestId(model: Json, added: readonly AddedToken[]): number {
  let highest = -1;
  const ids: unknown[] = isObject(model.vocab) ? Object.values(model.vocab) : [];
  for (const id of ids) {
    if (!isId(id)) throw new TokenizerError(`tokenizer.json: the vocabulary has the id ${JSON.stringify(id)}.`);
    highest = Math.max(highest, id);
  }
  if (Array.isArray(model.vocab)) highest = model.vocab.length - 1;
  for (const token of added) highest = Math.max(highest, token.id);
  if (highest < 0) throw new TokenizerError("tokenizer.json: the vocabulary is empty.");
  return highest;
}

/** Files written before tokenizers 0.9 do not say which model they have; what is in it tells. */
function typedModel(model: Json): Json {
  const guess = Array.isArray(model.vocab) ? "Unigram" : "merges" in model ? "BPE" : "WordPiece";
  const type = model.type ?? guess;
  if (type === "BPE" || type === "Unigram" || type === "WordPiece") return { ...model, type };
  throw new TokenizerError(
    `tokenizer.json: a model of type ${JSON.stringify(type)} is not supported. Supported: BPE, Unigram, WordPiece.`,
  );
}

function chatTemplate(field: unknown): string | undefined {
  if (typeof field === "string") return field;
  if (!Array.isArray(field)) return undefined;
  const found = (field as unknown[]).find((entry) => isObject(entry) && entry.name === "default") as Json | undefined;
  return typeof found?.template === "string" ? found.template : undefined;
}
