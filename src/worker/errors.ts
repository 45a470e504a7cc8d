/**
 * Errors across a thread: a structured clone turns every class into plain Error and drops its fields, so they travel as
 * data and are made anew on the other side. Classes are found by `code`, since a minifier may have renamed them.
 */
import {
  AbortError,
  ArgumentError,
  ConfigError,
  ContextLengthError,
  DeviceLostError,
  DisposedError,
  GpuError,
  NoAdapterError,
  OutOfMemoryError,
  SafetensorsError,
  SessionError,
  SourceError,
  TemplateError,
  TesseraError,
  TokenizerError,
  TooLargeError,
  UnsupportedError,
  UnsupportedModelError,
  WeightsError,
  WorkerError,
  type ErrorCode,
} from "../base/errors.ts";

const prototypes: Record<ErrorCode, TesseraError> = {
  argument: ArgumentError.prototype,
  unsupported: UnsupportedError.prototype,
  "unsupported-model": UnsupportedModelError.prototype,
  config: ConfigError.prototype,
  source: SourceError.prototype,
  safetensors: SafetensorsError.prototype,
  weights: WeightsError.prototype,
  tokenizer: TokenizerError.prototype,
  template: TemplateError.prototype,
  "context-length": ContextLengthError.prototype,
  "too-large": TooLargeError.prototype,
  abort: AbortError.prototype,
  "no-adapter": NoAdapterError.prototype,
  "device-lost": DeviceLostError.prototype,
  gpu: GpuError.prototype,
  "out-of-memory": OutOfMemoryError.prototype,
  disposed: DisposedError.prototype,
  session: SessionError.prototype,
  worker: WorkerError.prototype,
};

/** An error as plain data. */
export interface PortableError {
  /** Absent: none of ours, a plain Error over there. */
  code?: ErrorCode;
  name: string;
  message: string;
  stack?: string;
  /** The own properties of one of ours: `code`, and what its class adds. */
  fields: Record<string, unknown>;
  cause?: { error: PortableError } | { value: unknown };
}

/** Causes of causes that travel; also what ends a circle. */
const MAX_CAUSES = 8;

/** Whatever was thrown, as data that can be cloned. */
export function encodeError(thrown: unknown, causes = MAX_CAUSES): PortableError {
  if (!(thrown instanceof Error)) return { name: "Error", message: String(thrown), fields: {} };
  const { name, message, stack, cause } = thrown;
  const ours = thrown instanceof TesseraError;
  const own = ours ? Object.entries(thrown).filter(([, value]) => isCloneable(value)) : [];
  const encoded: PortableError = { name, message, fields: Object.fromEntries(own) };
  if (ours) encoded.code = thrown.code;
  if (stack !== undefined) encoded.stack = stack;
  if (cause instanceof Error && causes > 0) encoded.cause = { error: encodeError(cause, causes - 1) };
  else if (cause !== undefined && !(cause instanceof Error) && isCloneable(cause)) encoded.cause = { value: cause };
  return encoded;
}

/** The error that `encodeError` was given: of its class if it is one of ours, else a plain Error of its name. */
export function decodeError({ code, name, message, stack, fields, cause }: PortableError): Error {
  const inner = cause && ("error" in cause ? decodeError(cause.error) : cause.value);
  const error = new Error(message, inner === undefined ? undefined : { cause: inner });
  if (stack !== undefined) error.stack = stack;
  if (code === undefined) error.name = name;
  else Object.assign(Object.setPrototypeOf(error, prototypes[code]) as Error, fields);
  return error;
}

function isCloneable(value: unknown): boolean {
  try {
    structuredClone(value);
    return true;
  } catch {
    return false;
  }
}
