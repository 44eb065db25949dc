/** What the end of a container means for the inputs that were in it. */
import { constants } from "node:os";
import type { ContainerExit } from "../core/engine.ts";

/** `node_lost`: of a container on a node that cannot be asked any more. */
export type ExitCode = "out_of_memory" | "container_killed" | "container_crashed" | "node_lost";

export interface ExitVerdict {
  code: ExitCode;
  message: string;
}

/** Signals that somebody outside sends; a program that fails by itself gets others. */
const FROM_OUTSIDE: ReadonlySet<number> = new Set([
  constants.signals.SIGKILL,
  constants.signals.SIGTERM,
  constants.signals.SIGINT,
  constants.signals.SIGHUP,
]);
const OWN_FAULT: ReadonlySet<number> = new Set([
  constants.signals.SIGSEGV,
  constants.signals.SIGABRT,
  constants.signals.SIGBUS,
  constants.signals.SIGFPE,
  constants.signals.SIGILL,
]);

export const isFromOutside = (signal: number): boolean => FROM_OUTSIDE.has(signal);

export const signalName = (number: number): string =>
  Object.entries(constants.signals).find(([, value]) => value === number)?.[0] ?? `signal ${number}`;

/** `exit` is undefined when the engine knows no such container any more. `tail` is what the process wrote last. */
export function classifyExit(exit: ContainerExit | undefined, tail = ""): ExitVerdict {
  if (!exit) return { code: "container_killed", message: "The container was removed from outside." };
  if (exit.outOfMemory && exit.code === 137)
    return { code: "out_of_memory", message: "The container used more memory than its limit and was killed." };
  const signal = exit.code > 128 ? exit.code - 128 : undefined;
  if (signal !== undefined && isFromOutside(signal))
    return { code: "container_killed", message: `The container was killed from outside (${signalName(signal)}).` };
  const how =
    signal !== undefined && OWN_FAULT.has(signal)
      ? `was ended by ${signalName(signal)}`
      : `ended with exit code ${exit.code}`;
  const said = tail.trim();
  return {
    code: "container_crashed",
    message: `The function's process ${how}.${said === "" ? "" : `\nIts last words:\n${said}`}`,
  };
}
