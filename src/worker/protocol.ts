/**
 * What crosses between a page and the worker that holds its engine. The page makes numbered calls and may cancel them;
 * each gets replies of its number, the last of which is a result or an error. Messages are structured-cloned in order.
 */
import type { LoadOptions, ModelSource } from "../engine/load.ts";
import type {
  Delta,
  EngineStats,
  ExpertCounts,
  GenerationResult,
  LoadProgress,
  ModelInfo,
  PortInput,
  RestoredSession,
  RestoreOptions,
  RowRange,
  SamplingOptions,
  SaveOptions,
} from "../engine/port.ts";
import type { PortableError } from "./errors.ts";

/** Files travel with their paths: a structured clone need not keep `webkitRelativePath`. */
export type PortableSource = Exclude<ModelSource, File[]> | { file: File; path: string }[];

export type PortableLoadOptions = Omit<LoadOptions, "fetch" | "onProgress" | "signal" | "device">;

/** A method of the port, or the load that comes before them. */
export type Call =
  | {
      type: "load";
      source: PortableSource;
      options: PortableLoadOptions;
      /** Name of a Web Lock that the worker holds as long as it lives. */
      lock: string;
    }
  | { type: "generate"; input: PortInput; options: SamplingOptions }
  | { type: "saveSession"; input: PortInput; options: SaveOptions }
  | { type: "restoreSession"; bytes: Uint8Array; options: RestoreOptions }
  | { type: "logits"; ids: number[]; rows: RowRange }
  | { type: "score"; ids: number[] }
  | { type: "encode"; text: string; options: { specialTokens?: boolean } | undefined }
  | { type: "decode"; ids: number[]; options: { skipSpecialTokens?: boolean } | undefined }
  | { type: "routing" }
  | { type: "dispose" };

/** What each call resolves with. Typed arrays are transferred. */
export interface Results {
  load: ModelInfo;
  generate: GenerationResult;
  saveSession: Uint8Array<ArrayBuffer>;
  restoreSession: RestoredSession;
  logits: Float32Array;
  score: Float32Array;
  encode: number[];
  decode: string;
  routing: ExpertCounts[];
  dispose: undefined;
}

export type NumberedCall = Call & {
  id: number;
  /** The caller's signal had fired before the call was made. */
  aborted: boolean;
};

/** From the page to the worker. */
export type Request = NumberedCall | { type: "cancel"; id: number };

/** From the worker to the page. `stats`: a fresh snapshot, where one was due. */
export type Reply =
  | { type: "started"; locked: boolean }
  | { type: "progress"; id: number; progress: LoadProgress }
  | { type: "deltas"; id: number; deltas: Delta[]; stats?: EngineStats }
  | { type: "result"; id: number; value: Results[Call["type"]]; stats?: EngineStats }
  | { type: "error"; id: number; error: PortableError; stats?: EngineStats };
