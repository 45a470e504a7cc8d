import { ConfigError } from "../base/errors.ts";

/** Reads config.json field by field, so that every complaint names the field. */
export class ConfigReader {
  constructor(private readonly json: Readonly<Record<string, unknown>>) {}

  /** A field that is absent or null. */
  absent(field: string): boolean {
    return this.json[field] === undefined || this.json[field] === null;
  }

  /** An integer in [min, max]; `fallback`, which other fields may decide and is held to the same, where it is absent. */
  integer(field: string, options: { fallback?: number; min?: number; max?: number } = {}): number {
    const { fallback, min = 1, max = 2 ** 31 - 1 } = options;
    const value = this.absent(field) ? fallback : this.json[field];
    if (value === undefined) throw new ConfigError(field, "is missing");
    if (typeof value !== "number" || !Number.isInteger(value) || value < min || value > max) {
      throw new ConfigError(field, `${show(value)} is not an integer from ${min} to ${max}`);
    }
    return value;
  }

  /** A finite positive number. */
  positive(field: string, fallback?: number): number {
    if (this.absent(field)) {
      if (fallback === undefined) throw new ConfigError(field, "is missing");
      return fallback;
    }
    const value = this.json[field];
    if (typeof value !== "number" || !Number.isFinite(value) || value <= 0) {
      throw new ConfigError(field, `${show(value)} is not a positive number`);
    }
    return value;
  }

  boolean(field: string, fallback: boolean): boolean {
    if (this.absent(field)) return fallback;
    const value = this.json[field];
    if (typeof value !== "boolean") throw new ConfigError(field, `${show(value)} is not true or false`);
    return value;
  }

  object(field: string): Readonly<Record<string, unknown>> | undefined {
    if (this.absent(field)) return undefined;
    const value = this.json[field];
    if (typeof value !== "object" || Array.isArray(value)) throw new ConfigError(field, `${show(value)} is no object`);
    return value as Record<string, unknown>;
  }

  /** Refuses every value but those listed; absent is fine. */
  only(field: string, allowed: readonly unknown[], why: string): void {
    if (this.absent(field) || allowed.includes(this.json[field])) return;
    throw new ConfigError(field, `${show(this.json[field])} is not supported: ${why}`);
  }

  /** A token id, a list of them, or nothing. */
  tokenIds(field: string, vocabSize: number): number[] {
    if (this.absent(field)) return [];
    const value = this.json[field];
    const ids: unknown[] = Array.isArray(value) ? value : [value];
    for (const id of ids) {
      if (typeof id !== "number" || !Number.isInteger(id) || id < 0 || id >= vocabSize) {
        throw new ConfigError(field, `${show(id)} is not a token id below vocab_size ${vocabSize}`);
      }
    }
    return ids as number[];
  }
}

function show(value: unknown): string {
  return (JSON.stringify(value) ?? String(value)).slice(0, 80);
}
