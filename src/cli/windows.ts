import { ArgumentError } from "../index.ts";

/** The line that separates documents in a file. */
const SEPARATOR = "<|endoftext|>";

/** Ids for one call of `score`; its results from `from` on are the text's, those before belong to special tokens. */
export interface Window {
  readonly ids: number[];
  readonly from: number;
}

/**
 * Cuts a text's ids into windows of at most `size`. With a prefix (BOS) every window starts with it, and every id is
 * scored once. Without, each window starts with the last id of the one before, and every id but the first is scored.
 */
export function cutWindows(ids: readonly number[], prefix: readonly number[], size: number): Window[] {
  const shared = prefix.length > 0 ? 0 : 1;
  const room = size - prefix.length - shared;
  if (room < 1) throw new ArgumentError(`A context of ${size} tokens has no room for text. Give a larger --context.`);
  const windows: Window[] = [];
  for (let at = 0; at + shared < ids.length; at += room) {
    const part = ids.slice(at, at + room + shared);
    windows.push({ ids: [...prefix, ...part], from: Math.max(0, prefix.length - 1) });
  }
  return windows;
}

/** What a tokenizer puts before a text, from a text's ids with special tokens and without. */
export function prefixOf(withSpecial: readonly number[], bare: readonly number[]): number[] {
  const last = withSpecial.length - bare.length;
  for (let at = 0; at <= last; at++) {
    if (bare.every((id, i) => withSpecial[at + i] === id)) return withSpecial.slice(0, at);
  }
  throw new ArgumentError(
    "This tokenizer changes a text when it adds special tokens, so it cannot be cut into windows.",
  );
}

/**
 * The documents of a file: what lies between lines that hold the separator alone. The line break before a separator is
 * its own, and so is the file's last one where there are separators; empty documents are dropped.
 */
export function splitDocuments(text: string): string[] {
  const documents: string[][] = [[]];
  for (const line of text.split("\n")) {
    if (line.trimEnd() === SEPARATOR) documents.push([]);
    else documents.at(-1)!.push(line);
  }
  if (documents.length === 1) return text === "" ? [] : [text];
  const last = documents.at(-1)!;
  if (last.at(-1) === "") last.pop();
  return documents.map((lines) => lines.join("\n")).filter((document) => document !== "");
}
