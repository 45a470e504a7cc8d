import { AbortError, NoAdapterError, TesseraError } from "../index.ts";
import { UsageError } from "./args.ts";

/** How a failed command ends: its exit status, and what goes to stderr. */
export interface Failure {
  status: number;
  /** Empty where there is nobody to tell. */
  message: string;
}

/** Statuses as help.ts lists them. Whatever is not thrown on purpose is a fault of ours, and is shown whole. */
export function failureOf(error: unknown): Failure {
  if (error instanceof UsageError) return { status: 2, message: `tessera: ${error.message}\n${error.usage}` };
  if (error instanceof AbortError) return { status: 130, message: oneLine(error.message) };
  if (error instanceof NoAdapterError) return { status: 2, message: oneLine(error.message) };
  if (error instanceof TesseraError) return { status: 1, message: oneLine(error.message) };
  // Whoever read our output has seen enough (`| head`): the shell's own status for that.
  if ((error as NodeJS.ErrnoException | undefined)?.code === "EPIPE") return { status: 141, message: "" };
  const shown = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return { status: 70, message: `tessera: this is a fault of Tessera's, please report it:\n${shown}` };
}

function oneLine(message: string): string {
  return `tessera: ${message.replace(/\s*\n\s*/g, " ")}`;
}
