export {
  Engine,
  type GenerateOptions,
  type LoadOptions,
  type ReadOptions,
  type RestoreSessionOptions,
  type SaveSessionOptions,
} from "./api/engine.ts";
export type { Generation } from "./api/generation.ts";
export type { ModelSource } from "./engine/load.ts";
export type {
  AdapterInfo,
  AllowedTokens,
  ChatMessage,
  Choice,
  Delta,
  EngineStats,
  ExpertCounts,
  FinishReason,
  GenerationResult,
  KvFormat,
  LoadProgress,
  Logprobs,
  ModelInfo,
  RestoredSession,
  RowRange,
  SamplingOptions,
  Timing,
  TokenLogprob,
  Usage,
  WeightFormat,
} from "./engine/port.ts";
export * from "./base/errors.ts";
