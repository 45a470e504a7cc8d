/**
 * Mends the `pre_tokenizer` of a tokenizer.json before @huggingface/tokenizers 0.2.0 runs it, where that package splits
 * text otherwise than the reference (huggingface/tokenizers, Rust): its `Digits` knows only 0–9, its `ByteLevel` takes
 * U+FEFF for a space and U+0085 for none, its `Split` knows only the behaviors Isolated and Removed, its `Punctuation`
 * only Contiguous, its `Whitespace` only ASCII words, and its `Metaspace` never splits. Each is said again in terms of
 * the one thing that it does right: Split with a regular expression, Isolated.
 */
import { TokenizerError } from "../base/errors.ts";

interface Node {
  readonly type?: unknown;
  readonly [field: string]: unknown;
}

/** GPT-2's pattern, as ByteLevel has it built in. */
const GPT2 = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
const PUNCTUATION = "[\\p{P}!-/:-@\\[-`{-~]";
/** \w of the Rust regex crate (Unicode UTS 18, annex C). */
const WORD = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\u200c\\u200d";

/** The mended `pre_tokenizer` field; null stays null. Throws TokenizerError for what cannot be said in those terms. */
export function mendPreTokenizer(json: unknown): unknown {
  if (typeof json !== "object" || json === null) return json;
  const node = json as Node;
  switch (node.type) {
    case "Sequence":
      return Array.isArray(node.pretokenizers) ? sequence(...node.pretokenizers.map(mendPreTokenizer)) : node;
    case "ByteLevel":
      // A prefix space has to come before the split, which ByteLevel alone can do; it stays as it is.
      if (node.add_prefix_space === true || node.use_regex === false) return node;
      return sequence(isolated(GPT2), { ...node, use_regex: false });
    case "Digits":
      return isolated(node.individual_digits === true ? "\\p{N}" : "\\p{N}+");
    case "Punctuation":
      return split(PUNCTUATION, node.behavior ?? "Isolated", false);
    case "Whitespace":
      return split(`[${WORD}]+|[^${WORD}\\s]+`, "Removed", true);
    case "Metaspace":
      return metaspace(node);
    case "Split":
      return split(patternOf(node), node.behavior, node.invert === true);
    default:
      return node;
  }
}

function sequence(...pretokenizers: unknown[]): Node {
  return { type: "Sequence", pretokenizers };
}

function isolated(regex: string): Node {
  return { type: "Split", pattern: { Regex: regex }, behavior: "Isolated", invert: false };
}

function split(regex: string, behavior: unknown, invert: boolean): Node {
  const gap = `(?:(?!${regex})[\\s\\S])`;
  switch (behavior) {
    case "Removed":
      return { type: "Split", pattern: { Regex: regex }, behavior, invert };
    case "Isolated":
      if (!invert) return isolated(regex);
      break;
    case "Contiguous":
      if (!invert) return isolated(`(?:${regex})+`);
      break;
    case "MergedWithPrevious":
      if (!invert) return isolated(`${gap}*(?:${regex})`);
      break;
    case "MergedWithNext":
      if (!invert) return isolated(`(?:${regex})${gap}*`);
      break;
  }
  const what = JSON.stringify({ behavior, invert });
  throw new TokenizerError(`tokenizer.json: a pre_tokenizer that splits with ${what} is not supported.`);
}

function patternOf(node: Node): string {
  const pattern = node.pattern as { String?: unknown; Regex?: unknown } | null | undefined;
  if (typeof pattern?.Regex === "string") return pattern.Regex;
  if (typeof pattern?.String === "string") return escape(pattern.String);
  throw new TokenizerError(`tokenizer.json: a pre_tokenizer has no usable pattern: ${JSON.stringify(node)}.`);
}

function metaspace(node: Node): Node {
  const replacement = typeof node.replacement === "string" ? node.replacement : "▁";
  const scheme = node.prepend_scheme ?? (node.add_prefix_space === false ? "never" : "always");
  const mended = { ...node, prepend_scheme: scheme };
  return node.split === false ? mended : sequence(mended, split(escape(replacement), "MergedWithNext", false));
}

function escape(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&");
}
