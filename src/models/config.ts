import { ConfigError } from "../base/errors.ts";

/**
 * Fields that say nothing about what the model computes: identity, training, tokens that others read, other programs'
 * settings. Everything else has to be read by the family, or `finish` refuses it.
 */
const HARMLESS = new RegExp(
  `^(${[
    "model_type|architectures|auto_map|_name_or_path|_from_model_config|transformers_version|tokenizer_class|is_llama_config",
    "torch_dtype|dtype|use_cache|initializer_range|initializer_cutoff_factor|init_device|init_config|pretraining_tp|tp_parallel",
    "(bos|eos|pad|unk|sep|cls|mask)_token_id|(bos|eos|pad)_token|max_length|max_sequence_length|model_max_length|seq_length",
    ".*dropout.*|.*_pdrop|.*_dropout_prob|summary_.*|task_specific_params|n_special|predict_special_tokens|gradient_checkpointing",
    "id2label|label2id|output_.*|return_dict|is_decoder|is_encoder_decoder|add_cross_attention|problem_type|chunk_size_feed_forward",
    // How sums are rounded or which program does them, not what is summed.
    "_?attn_implementation|attn_impl|use_flash_attn|flash_attn|flash_rotary|fused_dense|cache_implementation|slow_but_exact",
    "(scale_)?attention_softmax_in_fp32|reorder_and_upcast_attn|masked_softmax_fusion|bias_dropout_fusion|skip_bias_add.*",
    "offset_alibi|verbose|tokenizer_name",
    // Settings of other programs that read the same file: MLC-LLM, transformers.js, text-generation-inference.
    "context_window_size|prefill_chunk_size|attention_sink_size|transformers\\.js_config|runner_max_sequence_length|inference_runner",
    "validate_runner_input|pre_allocate_kv_cache|max_batch_size|pad_key_length",
  ].join("|")})$`,
);

/** Reads config.json field by field, so that every complaint names the field. */
export class ConfigReader {
  private readonly known = new Set<string>();

  constructor(
    private readonly json: Readonly<Record<string, unknown>>,
    /** What stands before a field's name in a complaint: "rope_scaling." within that object. */
    private readonly path = "",
  ) {}

  /** A field that is absent or null. */
  absent(field: string): boolean {
    this.known.add(field);
    return this.json[field] === undefined || this.json[field] === null;
  }

  /** A field that says null, which some families mean something by, where it may also be left out. */
  isNull(field: string): boolean {
    return this.json[field] === null;
  }

  /** Marks fields whose value makes no difference to this family. */
  ignore(...fields: string[]): void {
    for (const field of fields) this.known.add(field);
  }

  /** Refuses the first field that nobody has read: half a config understood is a model run wrongly. */
  finish(): void {
    for (const field of Object.keys(this.json)) {
      if (this.known.has(field) || this.absent(field) || HARMLESS.test(field)) continue;
      throw this.error(field, `${show(this.json[field])} is not understood, so the model might be run wrongly`);
    }
  }

  error(field: string, problem: string): ConfigError {
    return new ConfigError(this.path + field, problem);
  }

  /** An integer in [min, max]; `fallback`, which other fields may decide and is held to the same, where it is absent. */
  integer(field: string, options: { fallback?: number; min?: number; max?: number } = {}): number {
    const { fallback, min = 1, max = 2 ** 31 - 1 } = options;
    const value = this.absent(field) ? fallback : this.json[field];
    if (value === undefined) throw this.error(field, "is missing");
    if (typeof value !== "number" || !Number.isInteger(value) || value < min || value > max) {
      throw this.error(field, `${show(value)} is not an integer from ${min} to ${max}`);
    }
    return value;
  }

  /** A finite positive number. */
  positive(field: string, fallback?: number): number {
    if (this.absent(field)) {
      if (fallback === undefined) throw this.error(field, "is missing");
      return fallback;
    }
    const value = this.json[field];
    if (typeof value !== "number" || !Number.isFinite(value) || value <= 0) {
      throw this.error(field, `${show(value)} is not a positive number`);
    }
    return value;
  }

  boolean(field: string, fallback: boolean): boolean {
    if (this.absent(field)) return fallback;
    const value = this.json[field];
    if (typeof value !== "boolean") throw this.error(field, `${show(value)} is not true or false`);
    return value;
  }

  /** One of the named values. */
  oneOf<T extends string>(field: string, values: readonly T[], fallback?: T): T {
    const value = this.absent(field) ? fallback : this.json[field];
    if (value === undefined) throw this.error(field, "is missing");
    if (!values.includes(value as T)) {
      throw this.error(field, `${show(value)} is not supported: only ${values.join(", ")}`);
    }
    return value as T;
  }

  /** A number, or nothing where the field is absent. */
  number(field: string): number | undefined {
    if (this.absent(field)) return undefined;
    const value = this.json[field];
    if (typeof value !== "number" || !Number.isFinite(value)) throw this.error(field, `${show(value)} is no number`);
    return value;
  }

  /** `length` elements, each passing the test. */
  list<T>(field: string, length: number, what: string, passes: (value: unknown) => value is T): readonly T[] {
    const value = this.absent(field) ? undefined : this.json[field];
    if (!Array.isArray(value) || value.length !== length || !value.every(passes)) {
      throw this.error(field, `${show(value)} is not a list of ${length} ${what}`);
    }
    return value;
  }

  /** A list of any number of integers in [0, below); empty where it is absent. */
  integers(field: string, below: number): readonly number[] {
    if (this.absent(field)) return [];
    const value = this.json[field];
    const passes = (x: unknown): boolean => Number.isInteger(x) && (x as number) >= 0 && (x as number) < below;
    if (!Array.isArray(value) || !value.every(passes)) {
      throw this.error(field, `${show(value)} is not a list of integers below ${below}`);
    }
    return value as number[];
  }

  /** A reader of a nested object. */
  nested(field: string): ConfigReader | undefined {
    const value = this.object(field);
    return value && new ConfigReader(value, `${this.path}${field}.`);
  }

  object(field: string): Readonly<Record<string, unknown>> | undefined {
    if (this.absent(field)) return undefined;
    const value = this.json[field];
    if (typeof value !== "object" || Array.isArray(value)) throw this.error(field, `${show(value)} is no object`);
    return value as Record<string, unknown>;
  }

  /** Refuses every value but those listed; absent is fine. */
  only(field: string, allowed: readonly unknown[], why: string): void {
    if (this.absent(field) || allowed.includes(this.json[field])) return;
    throw this.error(field, `${show(this.json[field])} is not supported: ${why}`);
  }

  /** A token id, a list of them, or nothing. */
  tokenIds(field: string, vocabSize: number): number[] {
    if (this.absent(field)) return [];
    const value = this.json[field];
    const ids: unknown[] = Array.isArray(value) ? value : [value];
    for (const id of ids) {
      if (typeof id !== "number" || !Number.isInteger(id) || id < 0 || id >= vocabSize) {
        throw this.error(field, `${show(id)} is not a token id below vocab_size ${vocabSize}`);
      }
    }
    return ids as number[];
  }
}

function show(value: unknown): string {
  return (JSON.stringify(value) ?? String(value)).slice(0, 80);
}

/** A config as its family reads it; a field that says something about the model and was not asked for is refused. */
export function parseWhole<C>(
  json: Readonly<Record<string, unknown>>,
  parse: (c: ConfigReader, modelType: string) => C,
): C {
  const c = new ConfigReader(json);
  const config = parse(c, String(json["model_type"]));
  c.finish();
  return config;
}
