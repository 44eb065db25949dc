/** The record of an invocation: what is true about a call, whatever queue, runner or container comes and goes. */
import type { ErrorBody } from "./errors.ts";
import type { Encoding } from "./protocol.ts";

export type InvocationState = "queued" | "running" | "succeeded" | "failed" | "cancelled";
export const TERMINAL: readonly InvocationState[] = ["succeeded", "failed", "cancelled"];
export const isTerminal = (state: InvocationState): boolean => TERMINAL.includes(state);

/** `app/function`: what a queue, a pool and a hint are keyed by. */
export type FunctionKey = `${string}/${string}`;
export const functionKey = (app: string, fn: string): FunctionKey => `${app}/${fn}`;
export function splitFunctionKey(key: FunctionKey): { app: string; fn: string } {
  const slash = key.indexOf("/");
  return { app: key.slice(0, slash), fn: key.slice(slash + 1) };
}

/** Bodies up to this size live in the record; larger ones go to the bucket first. */
export const RECORD_INLINE_BYTES = 8 * 1024;

/** What the gateway stores when it accepts a call. */
export interface NewInvocation {
  id: string;
  app: string;
  fn: string;
  /** Pinned when accepted: a later deploy does not change what this call runs. */
  version: string;
  encoding: Encoding;
  /** The encoded arguments; absent when they are in the bucket at `inputKey(id)`. */
  input?: Buffer;
  acceptPickle: boolean;
  timeoutMs: number;
  retries: number;
  /** Gateway to tell when it ends; absent when nobody waits yet. */
  waiter?: string;
}

/** Where a result is: in the record, or in the bucket under `key`. */
export interface ResultRef {
  encoding: Encoding;
  size: number;
  inline?: Buffer;
  key?: string;
}

/** Moments in milliseconds since 1970 (Redis' clock), each set once per attempt; durations derive from them. */
export interface Moments {
  createdAt: number;
  /** A runner took the entry and owns the attempt. */
  claimedAt?: number;
  /** The input went to a container that was ready. */
  startedAt?: number;
  /** The shim's outcome arrived. */
  endedAt?: number;
  /** The record became terminal. */
  finishedAt?: number;
  /** Part of claimedAt..startedAt spent on starting a container; 0 when a warm one was there. */
  bootMs?: number;
  /** Part of the boot that the user's imports took. */
  enterMs?: number;
}

export interface InvocationRecord extends Omit<NewInvocation, "waiter">, Moments {
  state: InvocationState;
  /** Generation of the latest queue entry or attempt: the fencing token. */
  generation: number;
  attempts: number;
  userFaults: number;
  platformFaults: number;
  runner?: string;
  node?: string;
  container?: string;
  cancelRequested: boolean;
  /** Why it is not ended yet, in words for a person. */
  reason?: string;
  result?: ResultRef;
  error?: ErrorBody;
  /** The pickled exception of the last failed attempt, for Python callers. */
  exception?: Buffer;
  /** Series its checkpoints go to; absent: one named by its id. */
  series?: string;
  /** Earlier invocations' checkpoints of the series do not count for it. */
  startsOver?: boolean;
}

/** What a claim gives the runner. */
export interface Claim {
  record: InvocationRecord;
  leaseMs: number;
}

export type Outcome =
  | { state: "succeeded"; result: ResultRef }
  | { state: "failed"; error: ErrorBody; exception?: Buffer }
  | { state: "cancelled"; error: ErrorBody };

/** Bucket keys of an invocation. */
export const inputKey = (id: string): string => `invocations/${id}/input`;
export const resultManifestKey = (id: string): string => `invocations/${id}/result.json`;
export const resultDataKey = (id: string, generation: number): string => `invocations/${id}/g${generation}/result`;
