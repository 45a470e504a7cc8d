export { Engine, type GenerateOptions, type LoadOptions, type ReadOptions } from "./api/engine.ts";
export type { Generation } from "./api/generation.ts";
export type { ModelSource } from "./engine/load.ts";
export type {
  AdapterInfo,
  ChatMessage,
  Choice,
  Delta,
  EngineStats,
  FinishReason,
  GenerationResult,
  KvFormat,
  LoadProgress,
  Logprobs,
  ModelInfo,
  RowRange,
  SamplingOptions,
  Timing,
  TokenLogprob,
  Usage,
  WeightFormat,
} from "./engine/port.ts";
export * from "./base/errors.ts";
