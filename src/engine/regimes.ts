import { invariant } from "../base/assert.ts";
import type { Family, ModelConfig, RopeSpec } from "../models/family.ts";
import { chainHash } from "./prefix.ts";

/**
 * The rotary regimes of an engine: of how long a request may become, and what it rotates by then. A request has one for its
 * whole life, whatever becomes of it: kept when it is preempted, or computed again on another device. Pages of one regime are
 * of no use in another.
 */
export class Regimes {
  /** By regime, the longest request, prompt and answer together; ascending, the last one holds the engine's context. */
  readonly lengths: readonly number[];
  /** By regime, the rotary embeddings in the order of `Family.ropes`. */
  readonly specs: readonly (readonly RopeSpec[])[];
  /** By regime, a name of its frequencies, for saved sessions: the same in every engine that rotates so. */
  readonly names: readonly string[];

  constructor(family: Family, config: ModelConfig, contextTokens: number) {
    this.lengths = family.regimes(config, contextTokens);
    this.specs = this.lengths.map((length) => family.ropes(config, length));
    this.names = this.specs.map(nameOf);
  }

  /** The regime of a request that becomes at most `length` tokens long. */
  of(length: number): number {
    const regime = this.lengths.findIndex((longest) => length <= longest);
    invariant(regime >= 0, `a request of ${length} tokens in regimes of ${this.lengths.join(", ")}`);
    return regime;
  }
}

function nameOf(specs: readonly RopeSpec[]): string {
  const digests = specs.map(({ dim, scale, inverseFrequencies }) => {
    const numbers = Float64Array.of(dim, scale, ...inverseFrequencies);
    return chainHash("", [...new Uint32Array(numbers.buffer)]);
  });
  return digests.join("-");
}
