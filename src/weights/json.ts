/**
 * A strict JSON reader (RFC 8259) that walks a text once, in the order the caller asks. `JSON.parse` cannot be used for
 * safetensors headers: it drops duplicate keys, takes `1.0`, `1e2` and `-0` for whole numbers, and lets lone
 * surrogates through, each of which the reference implementation refuses.
 */
const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
const WHOLE = /(?:0|[1-9][0-9]*)(?![0-9.eE])/y;
const NEEDS_CARE = /[\\\u0000-\u001f]/;
const LONE_SURROGATE = /\p{Surrogate}/u;
/** Nesting that the reference's JSON reader takes before it gives up. */
const MAX_DEPTH = 127;
const QUOTE = code('"');
const BACKSLASH = code("\\");
const COMMA = code(",");
const COLON = code(":");
const SPACE = code(" ");
const WHITE_SPACE = [SPACE, code("\n"), code("\r"), code("\t")];
const OBJECT = { open: code("{"), close: code("}") };
const ARRAY = { open: code("["), close: code("]") };

export class JsonReader {
  readonly #text: string;
  readonly #fail: (message: string) => never;
  #at = 0;
  #depth = 0;

  /** `fail` throws the caller's own error; it gets what was wrong and where. */
  constructor(text: string, fail: (message: string) => never) {
    this.#text = text;
    this.#fail = (message) => fail(`${message} (at character ${this.#at})`);
  }

  /** Walks an object; `visit` must read the value of each key, once. */
  object(visit: (key: string) => void): void {
    const seen = new Set<string>();
    this.#open(OBJECT.open);
    for (let more = this.#first(OBJECT.close); more; more = this.#next(OBJECT.close)) {
      const key = this.string();
      if (seen.has(key)) this.#fail(`the key ${quote(key)} appears twice in one object`);
      seen.add(key);
      this.#expect(COLON);
      visit(key);
    }
  }

  /** An array of numbers, each as `wholeNumber` takes it. */
  wholeNumbers(): number[] {
    const numbers: number[] = [];
    this.#open(ARRAY.open);
    for (let more = this.#first(ARRAY.close); more; more = this.#next(ARRAY.close)) numbers.push(this.wholeNumber());
    return numbers;
  }

  string(): string {
    this.#expect(QUOTE);
    const begin = this.#at;
    const close = this.#text.indexOf('"', begin);
    if (close < 0) this.#fail("a string is not closed");
    const plain = this.#text.slice(begin, close);
    if (!NEEDS_CARE.test(plain)) {
      this.#at = close + 1;
      return plain;
    }
    return this.#escapedString(begin);
  }

  /** A number ≥ 0 written in digits alone, at most 2^53 − 1. */
  wholeNumber(): number {
    this.#peek();
    WHOLE.lastIndex = this.#at;
    const source = WHOLE.exec(this.#text)?.[0];
    if (source === undefined) this.#fail("expected a whole number ≥ 0 in plain digits");
    this.#at += source.length;
    const value = Number(source);
    if (!Number.isSafeInteger(value)) this.#fail("a number is past 2^53 - 1");
    return value;
  }

  number(): number {
    this.#peek();
    NUMBER.lastIndex = this.#at;
    const source = NUMBER.exec(this.#text)?.[0];
    if (source === undefined) this.#fail(`expected a number, found ${this.#found()}`);
    this.#at += source.length;
    const value = Number(source);
    if (!Number.isFinite(value)) this.#fail("a number is out of range");
    return value;
  }

  /** Reads past a `null`, and says whether there was one. */
  skipNull(): boolean {
    this.#peek();
    return this.#word("null");
  }

  /** Reads past any value, with the same strictness. */
  skip(): void {
    const next = this.#peek();
    if (next === OBJECT.open) this.object(() => this.skip());
    else if (next === ARRAY.open) this.#skipArray();
    else if (next === QUOTE) this.string();
    else if (!this.#word("true") && !this.#word("false") && !this.#word("null")) this.number();
  }

  /** Nothing but white space may follow. */
  end(): void {
    if (!Number.isNaN(this.#peek())) this.#fail("something follows the end of the JSON");
  }

  #skipArray(): void {
    this.#open(ARRAY.open);
    for (let more = this.#first(ARRAY.close); more; more = this.#next(ARRAY.close)) this.skip();
  }

  #open(bracket: number): void {
    this.#expect(bracket);
    if (++this.#depth > MAX_DEPTH) this.#fail(`the JSON is nested more than ${MAX_DEPTH} deep`);
  }

  /** After the opening bracket: whether an item follows. */
  #first(close: number): boolean {
    return this.#peek() !== close || this.#close();
  }

  /** After an item: whether another follows. */
  #next(close: number): boolean {
    const next = this.#peek();
    if (next === close) return this.#close();
    if (next !== COMMA) this.#fail(`expected "," or "${String.fromCharCode(close)}", found ${this.#found()}`);
    this.#at++;
    return true;
  }

  #close(): false {
    this.#at++;
    this.#depth--;
    return false;
  }

  #escapedString(begin: number): string {
    const text = this.#text;
    let end = begin;
    for (; end < text.length; end++) {
      const next = text.charCodeAt(end);
      if (next === QUOTE) break;
      if (next === BACKSLASH) end++;
    }
    if (end >= text.length) this.#fail("a string is not closed");
    let value: string;
    try {
      value = JSON.parse(text.slice(begin - 1, end + 1)) as string;
    } catch {
      this.#fail("a string holds a raw control character or an unknown escape");
    }
    if (LONE_SURROGATE.test(value)) this.#fail("a string holds half of a surrogate pair");
    this.#at = end + 1;
    return value;
  }

  #word(word: string): boolean {
    if (!this.#text.startsWith(word, this.#at)) return false;
    this.#at += word.length;
    return true;
  }

  /** The next UTF-16 code that is not white space, or NaN at the end. */
  #peek(): number {
    for (;;) {
      const next = this.#text.charCodeAt(this.#at);
      if (!(next <= SPACE) || !WHITE_SPACE.includes(next)) return next;
      this.#at++;
    }
  }

  #expect(wanted: number): void {
    if (this.#peek() !== wanted) {
      this.#fail(`expected ${JSON.stringify(String.fromCharCode(wanted))}, found ${this.#found()}`);
    }
    this.#at++;
  }

  #found(): string {
    return this.#at < this.#text.length ? JSON.stringify(this.#text[this.#at]) : "the end";
  }
}

function code(character: string): number {
  return character.charCodeAt(0);
}

/** The text of a UTF-8 file, or null if it is none. A byte-order mark stays in, where the JSON reader refuses it. */
export function decodeUtf8(bytes: Uint8Array): string | null {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return null;
  }
}

/** A string of a file as it may stand in a message: escaped and of bounded length. */
export function quote(text: string): string {
  return JSON.stringify(text.length > 120 ? `${text.slice(0, 120)}…` : text);
}

/** True where `text` cannot be written as UTF-8. */
export function hasLoneSurrogate(text: string): boolean {
  return LONE_SURROGATE.test(text);
}
