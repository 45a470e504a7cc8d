/**
 * Every error that Tessera throws on purpose. Each has a stable `code`, a message that says what was wrong and,
 * in the same breath, what to do about it. `instanceof TesseraError` separates "you can mend this" from a bug of ours.
 */
export type ErrorCode =
  | "argument"
  | "unsupported"
  | "unsupported-model"
  | "config"
  | "source"
  | "safetensors"
  | "weights"
  | "tokenizer"
  | "template"
  | "context-length"
  | "too-large"
  | "abort"
  | "no-adapter"
  | "device-lost"
  | "gpu"
  | "out-of-memory"
  | "disposed"
  | "session"
  | "worker";

/** The base of all. `cause` carries the underlying error where there is one. */
export class TesseraError extends Error {
  readonly code: ErrorCode;
  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.name = new.target.name;
  }
}

/** A value given by the caller is not one this call takes. */
export class ArgumentError extends TesseraError {
  constructor(message: string) {
    super("argument", message);
  }
}

/** A valid request for something that this build does not do. The message names it. */
export class UnsupportedError extends TesseraError {
  constructor(message: string) {
    super("unsupported", message);
  }
}

/** `config.json` names a `model_type` that no file in `models/` implements. */
export class UnsupportedModelError extends TesseraError {
  readonly modelType: string;
  readonly supported: readonly string[];
  constructor(modelType: string, supported: readonly string[]) {
    super(
      "unsupported-model",
      `model_type ${JSON.stringify(modelType)} is not supported. Supported: ${supported.join(", ")}.`,
    );
    this.modelType = modelType;
    this.supported = supported;
  }
}

/** `config.json` is missing a field, or a field has a value that would be run wrongly. `field` names it. */
export class ConfigError extends TesseraError {
  readonly field: string;
  constructor(field: string, message: string) {
    super("config", `config.json: ${field}: ${message}`);
    this.field = field;
  }
}

/** A file of the checkpoint could not be found or read (network, disk, dropped files). */
export class SourceError extends TesseraError {
  readonly file: string;
  constructor(file: string, message: string, options?: ErrorOptions) {
    super("source", `${file}: ${message}`, options);
    this.file = file;
  }
}

/** A `*.safetensors` file or its index breaks the format's rules. Nothing of it was used. */
export class SafetensorsError extends TesseraError {
  readonly file: string;
  constructor(file: string, message: string, options?: ErrorOptions) {
    super("safetensors", `${file}: ${message}`, options);
    this.file = file;
  }
}

/** The files are well formed, but a tensor the model needs is missing, has another shape, or another dtype. */
export class WeightsError extends TesseraError {
  readonly tensor: string;
  constructor(tensor: string, message: string) {
    super("weights", `tensor ${JSON.stringify(tensor)}: ${message}`);
    this.tensor = tensor;
  }
}

/** `tokenizer.json` is absent where text is used, or cannot be understood. */
export class TokenizerError extends TesseraError {
  constructor(message: string, options?: ErrorOptions) {
    super("tokenizer", message, options);
  }
}

/** A chat template is absent, too costly, or fails on these messages. */
export class TemplateError extends TesseraError {
  constructor(message: string, options?: ErrorOptions) {
    super("template", message, options);
  }
}

/** A prompt, or a prompt and what it asks for, is longer than the context. */
export class ContextLengthError extends TesseraError {
  readonly tokens: number;
  readonly limit: number;
  constructor(tokens: number, limit: number, hint = "Shorten the prompt, or load with a larger contextTokens.") {
    super("context-length", `${tokens} tokens do not fit the context of ${limit}. ${hint}`);
    this.tokens = tokens;
    this.limit = limit;
  }
}

/** A result would be larger than memory can hold; `bytes` says how large. */
export class TooLargeError extends TesseraError {
  readonly bytes: number;
  constructor(what: string, bytes: number, hint: string) {
    super("too-large", `${what} would take ${bytes} bytes. ${hint}`);
    this.bytes = bytes;
  }
}

/** The caller's AbortSignal fired while loading. (A generation that is aborted resolves with what it has.) */
export class AbortError extends TesseraError {
  constructor(what: string, reason?: unknown) {
    super("abort", `${what} was aborted.`, { cause: reason });
    this.name = "AbortError"; // the name that the web platform's own aborts carry
  }
}

/** There is no WebGPU here, or no adapter. The message says what to install or switch on. */
export class NoAdapterError extends TesseraError {
  constructor(message: string) {
    super("no-adapter", message);
  }
}

/**
 * The GPU device went away (driver reset, crash of the GPU process, too long a command). An engine replaces a device of its own
 * and goes on; it ends with this error while it loads, where the device was given, and where no other can be had (`cause`).
 */
export class DeviceLostError extends TesseraError {
  /** As `GPUDevice.lost` gives it: "destroyed" where somebody destroyed it, else "unknown". */
  readonly reason: string;
  readonly detail: string;
  constructor(reason: string, detail: string, options?: ErrorOptions) {
    super(
      "device-lost",
      `The GPU device was lost (${reason}): ${detail || "no further detail"}. Load the model again.`,
      options,
    );
    this.reason = reason;
    this.detail = detail;
  }
}

/** A GPU validation or compile error: a bug of ours or of a driver. The message holds the source position. */
export class GpuError extends TesseraError {
  constructor(message: string, options?: ErrorOptions) {
    super("gpu", message, options);
  }
}

/** A GPU allocation failed or would exceed the budget. */
export class OutOfMemoryError extends TesseraError {
  readonly needed: number;
  readonly available: number | undefined;
  constructor(what: string, needed: number, available?: number) {
    const room = available === undefined ? "" : `, ${available} bytes are available`;
    super(
      "out-of-memory",
      `${what} needs ${needed} bytes of GPU memory${room}. ` +
        "Use a smaller model, fewer bits (weights, kv), or a smaller contextTokens.",
    );
    this.needed = needed;
    this.available = available;
  }
}

/** The engine was disposed of while, or before, this was asked of it. */
export class DisposedError extends TesseraError {
  constructor() {
    super("disposed", "This engine has been disposed of. Load the model again.");
  }
}

/**
 * A saved session cannot be restored here; nothing of it was used. `reason`: its bytes are damaged or of another kind
 * ("corrupt"), of another version of the format ("version"), of another model or weight format ("model"), or of a cache with
 * other entries ("cache").
 */
export class SessionError extends TesseraError {
  readonly reason: "corrupt" | "version" | "model" | "cache";
  constructor(reason: SessionError["reason"], what: string, advice?: string, options?: ErrorOptions) {
    const ending = /[.!?]$/.test(what) ? "" : ".";
    super("session", `The saved session cannot be restored: ${what}${ending} ${advice ?? ADVICE[reason]}`, options);
    this.reason = reason;
  }
}

const ADVICE = {
  corrupt: "Save it anew.",
  version: "Save it anew with this build.",
  model: "Load the model that it was saved with, or save it anew.",
  cache: "Load with the options that it was saved with (kv, contextTokens), or save it anew.",
};

/** The worker that holds the engine could not start, threw, or was ended from outside. */
export class WorkerError extends TesseraError {
  constructor(message: string, options?: ErrorOptions) {
    super("worker", message, options);
  }
}
