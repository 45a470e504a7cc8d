/**
 * From token strings to text, one token at a time: the `decoder` of a tokenizer.json as a chain of small stages. A
 * stage gives out what is final and keeps the rest (an unfinished character, a space that may have to go), so a text
 * decoded in pieces is the text decoded at once, by construction.
 * Behaviour: https://github.com/huggingface/tokenizers, tokenizers/src/decoders and pre_tokenizers/byte_level.rs.
 */
import { TokenizerError } from "../base/errors.ts";

/** Pieces in, pieces out, in order. `flush` ends the text. */
export interface DecoderStage {
  push(piece: string): string[];
  flush(): string[];
}

/** Makes the stages of one text; they hold state. */
export type StageFactory = () => DecoderStage;

const SUPPORTED = "ByteLevel, ByteFallback, Fuse, Metaspace, Replace, Sequence, Strip";

/**
 * Compiles the `decoder` field. `addedTokens` are the contents of all added tokens: text as they stand, even where
 * their characters belong to the byte alphabet. Throws TokenizerError for a decoder that is not supported.
 */
export function compileDecoder(json: unknown, addedTokens: ReadonlySet<string>): StageFactory {
  if (json === null || json === undefined) return joinWithSpaces;
  const factories: StageFactory[] = [];
  // After Fuse or ByteLevel there is one piece, which comes in fragments.
  let fused = false;
  for (const step of flatten(json)) {
    if (fused && step.type !== "Fuse" && step.type !== "Strip") {
      throw unsupported(`decoder ${JSON.stringify(step.type)} after the pieces were joined`);
    }
    factories.push(compileStep(step, fused, addedTokens));
    fused ||= step.type === "Fuse" || step.type === "ByteLevel";
  }
  return () => chain(factories.map((make) => make()));
}

interface Step {
  readonly type: unknown;
  readonly [field: string]: unknown;
}

function flatten(json: unknown): Step[] {
  if (typeof json !== "object" || json === null) throw unsupported(`decoder ${JSON.stringify(json)}`);
  const step = json as Step;
  if (step.type !== "Sequence") return [step];
  if (!Array.isArray(step.decoders)) throw unsupported("decoder Sequence without a list of decoders");
  return step.decoders.flatMap(flatten);
}

function compileStep(step: Step, fused: boolean, addedTokens: ReadonlySet<string>): StageFactory {
  switch (step.type) {
    case "ByteLevel":
      return () => byteLevel(addedTokens);
    case "ByteFallback":
      return byteFallback;
    case "Fuse":
      return () => ({ push: (piece) => [piece], flush: () => [] });
    case "Metaspace":
      return metaspace(step);
    case "Replace":
      return replace(step);
    case "Strip":
      return strip(step, fused);
    default:
      throw unsupported(`decoder ${JSON.stringify(step.type)}`);
  }
}

function unsupported(what: string): TokenizerError {
  return new TokenizerError(`tokenizer.json: ${what} is not supported. Supported decoders: ${SUPPORTED}.`);
}

function chain(stages: readonly DecoderStage[]): DecoderStage {
  const through = (pieces: string[], from: number) =>
    stages.slice(from).reduce((rest, stage) => rest.flatMap((piece) => stage.push(piece)), pieces);
  return {
    push: (piece) => through([piece], 0),
    flush: () => stages.flatMap((stage, i) => through(stage.flush(), i + 1)),
  };
}

/** A stage that looks at each piece alone. */
function perPiece(map: (piece: string) => string): DecoderStage {
  return { push: (piece) => [map(piece)], flush: () => [] };
}

/** Without a decoder the reference joins tokens with spaces. */
function joinWithSpaces(): DecoderStage {
  let first = true;
  return perPiece((piece) => {
    const text = first ? piece : ` ${piece}`;
    first = false;
    return text;
  });
}

/** UTF-8 bytes to text as they come; an unfinished character waits, a broken one becomes U+FFFD (WHATWG Encoding). */
function utf8(): { push(bytes: Uint8Array): string; flush(): string } {
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  return { push: (bytes) => decoder.decode(bytes, { stream: true }), flush: () => decoder.decode() };
}

/** GPT-2's alphabet: a printable character for each byte (openai/gpt-2, src/encoder.py, bytes_to_unicode). */
const BYTE_OF: ReadonlyMap<string, number> = (() => {
  const map = new Map<string, number>();
  let next = 256;
  for (let byte = 0; byte < 256; byte++) {
    const printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    map.set(String.fromCharCode(printable ? byte : next++), byte);
  }
  return map;
})();

function byteLevel(addedTokens: ReadonlySet<string>): DecoderStage {
  const text = utf8();
  const encoder = new TextEncoder();
  return {
    push: (piece) => {
      if (addedTokens.has(piece)) return [text.flush() + piece];
      const bytes = Array.from(piece, (character) => BYTE_OF.get(character));
      return [text.push(bytes.includes(undefined) ? encoder.encode(piece) : Uint8Array.from(bytes as number[]))];
    },
    flush: () => [text.flush()],
  };
}

/**
 * SentencePiece's byte tokens `<0x0A>`. Where a run of them is not UTF-8, the reference replaces every byte of the
 * whole run; this replaces only what is broken, because the start of the run has long been shown.
 */
function byteFallback(): DecoderStage {
  const text = utf8();
  let inRun = false;
  const endRun = () => {
    const rest = inRun ? [text.flush()] : [];
    inRun = false;
    return rest;
  };
  return {
    push: (piece) => {
      const byte = /^<0x([0-9A-Fa-f]{2})>$/.exec(piece);
      if (!byte) return [...endRun(), piece];
      inRun = true;
      return [text.push(Uint8Array.of(parseInt(byte[1]!, 16)))];
    },
    flush: endRun,
  };
}

function metaspace(step: Step): StageFactory {
  const replacement = typeof step.replacement === "string" ? step.replacement : "▁";
  const prefixed =
    step.prepend_scheme === undefined ? step.add_prefix_space !== false : step.prepend_scheme !== "never";
  return () => {
    let first = true;
    return perPiece((piece) => {
      const space = first && prefixed ? "" : " ";
      first = false;
      return piece.replaceAll(replacement, space);
    });
  };
}

function replace(step: Step): StageFactory {
  const pattern = step.pattern as { String?: unknown; Regex?: unknown } | null | undefined;
  const content = typeof step.content === "string" ? step.content : "";
  let search: string | RegExp;
  if (typeof pattern?.String === "string") search = pattern.String;
  else if (typeof pattern?.Regex === "string") search = regex(pattern.Regex);
  else throw unsupported(`decoder Replace with the pattern ${JSON.stringify(pattern)}`);
  return () => perPiece((piece) => piece.replaceAll(search, () => content));
}

function regex(source: string): RegExp {
  try {
    return new RegExp(source, "gu");
  } catch {
    throw unsupported(`decoder Replace with the pattern ${JSON.stringify(source)}`);
  }
}

/** Takes up to `start` leading and `stop` trailing copies of a character from each piece, or from all of the text. */
function strip(step: Step, fused: boolean): StageFactory {
  const { content, start, stop } = step;
  if (typeof content !== "string" || content.length !== 1 || !isCount(start) || !isCount(stop)) {
    throw unsupported(`decoder ${JSON.stringify(step)}`);
  }
  const whole = (): DecoderStage => {
    let leading = start;
    let tail = "";
    return {
      push: (fragment) => {
        let from = 0;
        while (from < Math.min(leading, fragment.length) && fragment[from] === content) from++;
        leading = from === fragment.length ? leading - from : 0; // else the beginning is over
        const text = tail + fragment.slice(from);
        let keep = text.length;
        while (text.length - keep < stop && keep > 0 && text[keep - 1] === content) keep--;
        tail = text.slice(keep);
        return [text.slice(0, keep)];
      },
      flush: () => [],
    };
  };
  if (fused) return whole;
  return () => ({ push: (piece) => whole().push(piece), flush: () => [] });
}

function isCount(x: unknown): x is number {
  return typeof x === "number" && Number.isInteger(x) && x >= 0;
}
