import { ArgumentError } from "../base/errors.ts";
import { maskWords } from "../kernels/batch.ts";
import type { AllowedTokens } from "./port.ts";
import type { Request } from "./sequence.ts";

/**
 * A request's mask from its caller's function: a bit for each token that may be drawn, in words of 32.
 * @throws ArgumentError, when it is asked, for a list that is empty or has what is no token id
 */
export function maskOf(allowed: AllowedTokens, vocabSize: number): NonNullable<Request["allowed"]> {
  return (choice, generated) => {
    const list: readonly number[] | null = allowed([...generated], choice);
    if (list === null) return null;
    if (!Array.isArray(list) || list.length === 0) {
      throw new ArgumentError(
        "allowedTokens has to give token ids, at least one, or null for all. To end, allow an end token.",
      );
    }
    const words = new Uint32Array(maskWords(vocabSize));
    for (const id of list as readonly number[]) {
      if (!Number.isInteger(id) || id < 0 || id >= vocabSize) {
        throw new ArgumentError(
          `allowedTokens gave ${id}, which is not a token id: ids are from 0 to ${vocabSize - 1}.`,
        );
      }
      words[id >>> 5]! |= 1 << (id & 31);
    }
    return words;
  };
}
