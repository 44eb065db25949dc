/** The record of an invocation: what is true about a call, whatever queue, runner or container comes and goes. */

import type { Encoding } from "./encoding.ts";
import type { ErrorBody } from "./errors.ts";
import type { MapCounts, SliceFacts } from "./map.ts";
import type { TokenQuota } from "./quota.ts";
import type { Backoff } from "./retry.ts";
import type { QueuedEntry } from "./state-store.ts";
import type { Delivery } from "./webhook-outbox.ts";

export type InvocationState = "queued" | "running" | "succeeded" | "failed" | "cancelled";
export const TERMINAL: readonly InvocationState[] = ["succeeded", "failed", "cancelled"];
export const isTerminal = (state: InvocationState): boolean => TERMINAL.includes(state);

/** `app/function`, or `app/Class~<variant>` (see variant.ts): what a queue, a pool and a hint are keyed by. */
export type FunctionKey = `${string}/${string}`;
/** For entries: whether those of the call let others go first. */
export const behind = ({ priority = 0 }: Pick<NewInvocation, "priority">): { behind?: true } =>
  priority < 0 ? { behind: true } : {};

export const functionKey = (app: string, fn: string): FunctionKey => `${app}/${fn}`;
export function splitFunctionKey(key: FunctionKey): { app: string; fn: string } {
  const slash = key.indexOf("/");
  return { app: key.slice(0, slash), fn: key.slice(slash + 1) };
}

/** Bodies up to this size live in the record; larger ones go to the bucket first. */
export const RECORD_INLINE_BYTES = 8 * 1024;

/** Whose attempt it is: a map's slices are attempted under ids of their own. */
export const invocationOf = (attempt: string): string => attempt.split(".")[0]!;

/** The attempt that makes a call, and where the call stands below it. */
export interface Caller {
  /** Of the attempt. */
  id: string;
  generation: number;
  /** The call from outside that all of this began with. */
  root: string;
  /** How many calls lie between it and that one, itself included. */
  depth: number;
  /** The caller waits for it: it ends when that attempt ends, since nobody could have its result then. */
  awaited: boolean;
}

/** A function that calls itself without end is stopped here. */
export const MAX_CALL_DEPTH = 64;
/** Of an invocation's calls this many are listed, the latest ones. */
export const CHILDREN_KEPT = 1_000;

/** What is stored when a call is accepted. */
export interface NewInvocation {
  id: string;
  app: string;
  /** The function's name; for a class that of its pool, with `method` beside it. */
  fn: string;
  method?: string;
  /** JSON of the class' parameter values and options, where they are not its defaults. */
  variant?: string;
  /** Pinned when accepted: a later deploy does not change what this call runs. */
  version: string;
  encoding: Encoding;
  /** The encoded arguments; absent when they are in the bucket at `inputKey(id)`. */
  input?: Buffer;
  acceptPickle: boolean;
  timeoutMs: number;
  retries: number;
  /** Between retries; absent: that of a plain number. */
  backoff?: Backoff;
  /** Never tried again once its input may have reached a container. */
  atMostOnce?: boolean;
  /** How long it may wait in the queue; time before it is due, and with a runner, does not count. */
  maxQueueMs?: number;
  /** Its head start in seconds: among the queued calls of its function it counts as accepted so much earlier. */
  priority?: number;
  /** Of the inputs of its function with this key, `keyLimit` run at the same time. */
  key?: string;
  keyLimit?: number;
  /** How many inputs of its function may start in which time, as "100/m". */
  rate?: string;
  /** Runs this much later, at the earliest. */
  delayMs?: number;
  /** Of the calls with this key that have not started, the last one takes the place of the others. */
  debounceKey?: string;
  /** The failed invocation whose input it runs again. */
  redrivenFrom?: string;
  /** Absent for calls from outside. */
  caller?: Caller;
  /** Gateway or runner to tell when it ends; absent when nobody waits yet. */
  waiter?: string;
  /** How long it is kept once it has ended, its objects in the bucket too; absent: FABRIC_RECORD_TTL_SECONDS. */
  ttlSeconds?: number;
  /** URL that is told of its outcome. */
  webhook?: string;
  /** What made it, where that was no caller. */
  trigger?: Trigger;
  /** Of the token that makes it, where it has one. */
  quota?: TokenQuota;
  /** The moment of its schedule that it was made for; absent when a person asked for a run in between. */
  tick?: number;
}

export type Trigger = "schedule";

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
  /** It is not put into the queue before: a delayed call, or a retry that waits. */
  dueAt?: number;
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

export interface InvocationRecord extends Omit<NewInvocation, "waiter" | "delayMs" | "debounceKey" | "quota">, Moments {
  state: InvocationState;
  /** Generation of the latest queue entry or attempt: the fencing token. */
  generation: number;
  /** Id under which the bucket has its input; absent: its own. */
  inputFrom?: string;
  /** When it has waited in the queue as long as it may. */
  expiresAt?: number;
  /** The invocation that ran its input again after it had failed. */
  redrivenAs?: string;
  attempts: number;
  userFaults: number;
  platformFaults: number;
  runner?: string;
  node?: string;
  container?: string;
  cancelRequested: boolean;
  /** It has called functions itself. */
  hasCalls?: boolean;
  /** Why it is not ended yet, in words for a person. */
  reason?: string;
  /** While it runs: what its code cannot go on without, in words. */
  awaits?: string;
  result?: ResultRef;
  error?: ErrorBody;
  /** The pickled exception of the last failed attempt, for Python callers. */
  exception?: Buffer;
  /** Once it has ended and its webhook was tried. */
  delivery?: Delivery;
  /** Queued, and waits outside the queue for a place of its key. */
  isParked?: boolean;
  /** Series its checkpoints go to; absent: one named by its id. */
  series?: string;
  /** Earlier invocations' checkpoints of the series do not count for it. */
  startsOver?: boolean;
  /** It is a map; its inputs run as slices. */
  map?: MapCounts;
  /** It is a slice of a map, not an invocation of its own. */
  slice?: SliceFacts;
  /** Attempts before the latest one, oldest first; the last 10. */
  history?: PastAttempt[];
}

/** An attempt that was followed by another. */
export interface PastAttempt extends Omit<Moments, "createdAt" | "dueAt" | "finishedAt"> {
  generation: number;
  node?: string;
  container?: string;
  /** When it was given up. */
  at: number;
  /** The budget that paid for it; empty: none. */
  charge: "userFaults" | "platformFaults" | "";
  why: string;
}

/** What a claim gives the runner. */
export interface Claim {
  record: InvocationRecord;
  leaseMs: number;
  /** What of a slice was not taken: queued again, to be offered. */
  rest?: QueuedEntry & { count: number };
}

export type Outcome =
  | { state: "succeeded"; result: ResultRef }
  | { state: "failed"; error: ErrorBody; exception?: Buffer }
  | { state: "cancelled"; error: ErrorBody };

/** What became of a call. */
export interface Acceptance {
  id: string;
  created: boolean;
  /** The idempotency key was used for another call. */
  mismatch?: boolean;
  /** It took the place of an earlier call, whose input is in the bucket under this id; empty when it was in the record. */
  replaced?: string;
}

export interface ListFilter {
  app?: string;
  fn?: string;
  /** Only the calls that this invocation's function made. */
  parent?: string;
  state?: InvocationState;
  /** Accepted since then; of `failed` ones: failed since then. Milliseconds since 1970. */
  since?: number;
  limit: number;
}

/** Bucket keys of an invocation. */
export const invocationPrefix = (id: string): string => (id === "" ? "invocations/" : `invocations/${id}/`);
export const inputKey = (id: string): string => `invocations/${id}/input`;
export const resultManifestKey = (id: string): string => `invocations/${id}/result.json`;
export const resultDataKey = (id: string, generation: number): string => `invocations/${id}/g${generation}/result`;
