/**
 * The seam to the live state. One implementation (Redis and Lua); each method is one atomic step, so that a process may
 * die between any two of them. All methods throw `redis_unavailable` when the store does not answer; whether the step was
 * taken is then unknown, and repeating it is harmless.
 */
import type { CapacityLedger } from "./capacity-ledger.ts";
import type { ChunkStore } from "./chunk-store.ts";
import type { ErrorBody } from "./errors.ts";
import type { Expired } from "./expired-store.ts";
import type { ImageState } from "./image-state.ts";
import type {
  Acceptance,
  Claim,
  FunctionKey,
  InvocationRecord,
  ListFilter,
  Moments,
  NewInvocation,
  Outcome,
} from "./invocation.ts";
import type { LoadStore } from "./load.ts";
import type { LogGap } from "./log-seq.ts";
import type { MapStore } from "./map-store.ts";
import type { PostStore } from "./post-store.ts";
import type { Recovery } from "./recovery.ts";
import type { ScheduleStore } from "./schedule-store.ts";
import type { WebhookOutbox } from "./webhook-outbox.ts";

export interface Attempt {
  id: string;
  generation: number;
}

export interface QueuedEntry extends Attempt {
  key: FunctionKey;
  /** Its call has a negative head start: the entry is taken when none without this waits. */
  behind?: boolean;
}

/** A call that was accepted just now, told to all runners: who has a free slot for its version may claim it at once. */
export interface Offer extends QueuedEntry {
  version: string;
}

/** Invocations: DESIGN's life of an invocation, step by step. */
export interface InvocationStore {
  /**
   * Stores the record (generation 1, queued) with its outbox entry, and offers it to the runners. With an idempotency key that was used before: the earlier
   * id and `created: false`; `mismatch: true` when the digest of the call differs. A call with a caller is stored once under its
   * id. Throws `too_many_invocations` near the memory limit, and `cancelled` when the calling attempt has ended.
   */
  accept(call: NewInvocation, idempotency?: { key: string; digest: string }): Promise<Acceptance>;
  /** Those whose outbox entry still stands: no runner has claimed them, nobody has cancelled them or put them into the queue. */
  unclaimed(entries: QueuedEntry[]): Promise<QueuedEntry[]>;
  /** The queue has these entries: forget their outbox entries and tell runners that the functions have work. */
  enqueued(...entries: QueuedEntry[]): Promise<void>;
  /**
   * Takes ownership for `leaseMs`: queued -> running; an outbox entry goes, nobody needs it any more. `undefined` when the entry
   * is stale: the record is gone, ended, or of another generation; it is then to be acknowledged and forgotten. So it is when a
   * limit of the function keeps it from running now: it waits under the next generation until `release` finds it. Of a slice,
   * `take` inputs at most (default: all). With the `key` of its function, the claim may be of another call of it: one with a
   * head start, or one whose entry such a call took. The same claim again, by its `token`, answers with what it took when its
   * answer was lost.
   */
  claim(
    attempt: Attempt,
    owner: { runner: string; node: string; leaseMs: number; take?: number; key?: FunctionKey; token?: string },
  ): Promise<Claim | undefined>;
  /**
   * Notes where the attempt runs, its moments, or a reason; for people, never decides anything. Stale attempts change nothing.
   * `awaits` is what a running one waits for; an empty text ends that.
   */
  note(
    attempt: Attempt,
    facts: {
      container?: string;
      reason?: string;
      awaits?: string;
      series?: string;
      startsOver?: boolean;
    } & Partial<Moments>,
  ): Promise<void>;
  /** Extends leases held by `runner`. Answers which attempts are no longer its own and which of the kept ones someone wants cancelled. */
  renew(runner: string, attempts: Attempt[], leaseMs: number): Promise<{ lost: Attempt[]; cancel: Attempt[] }>;
  /** running -> terminal, only for the current generation. `stale` changes nothing. Tells the waiters. */
  finish(
    attempt: Attempt,
    outcome: Outcome,
    facts: { container?: string } & Partial<Moments>,
  ): Promise<"finished" | "stale">;
  /**
   * running -> queued under the next generation with an outbox entry, charging the given budget. Answers the new entry,
   * `cancelled` when a cancel was wanted (the record is terminal then), or `stale`; with `delayMs`, `delayed`: it waits
   * outside the queue until `Recovery.release` finds it due. `facts` go into the record's history with the attempt.
   */
  requeue(
    attempt: Attempt,
    charge: "user" | "platform" | "none",
    why: string,
    delayMs?: number,
    facts?: { container?: string } & Partial<Moments>,
  ): Promise<QueuedEntry | "delayed" | "cancelled" | "stale">;
  /**
   * queued -> cancelled at once; running -> its runner is told. With `unwanted` only when its caller was cancelled, or
   * waited for it in an attempt that has ended; `wanted` changes nothing.
   */
  cancel(
    id: string,
    options?: { unwanted?: boolean },
  ): Promise<"cancelled" | "cancelling" | "ended" | "missing" | "wanted">;
  /** queued -> failed; of a map, its queued inputs. False when it is not queued any more. */
  giveUp(id: string, error: ErrorBody): Promise<boolean>;
  /** Ids of the attempts under whose key it is parked. */
  keyHolders(id: string): Promise<string[]>;
  /** Ids of the calls it made, the latest ones, oldest first. */
  children(id: string, limit: number): Promise<string[]>;
  /** Of those it ever made, the ones that have not ended. */
  liveChildren(id: string): Promise<string[]>;
  get(id: string): Promise<InvocationRecord | undefined>;
  /** Newest first, of the last 10,000 that were accepted; of `failed` ones all whose records are kept. */
  list(filter: ListFilter): Promise<InvocationRecord[]>;
  /** Registers `waiter` (a gateway's or runner's id) to be told of the end; answers the record as it is now. */
  watch(id: string, waiter: string): Promise<InvocationRecord | undefined>;
  /** Records running under `runner`: what a restarted runner looks for in its containers. */
  ownedBy(runner: string): Promise<InvocationRecord[]>;
}

export interface LogLine {
  /** Position in the app's log (core/log-seq.ts); absent when appending. */
  seq?: string;
  at: number;
  fn: string;
  invocation?: string;
  /** The call from outside that the invocation lies below. */
  root?: string;
  container: string;
  source: "stdout" | "stderr" | "system";
  /** Of a gang. */
  rank?: number;
  text: string;
  /** Lines are missing here; `text` says the same in words. */
  gap?: LogGap;
  /** Why they are missing. */
  reason?: string;
}

/** What functions print: the latest lines of each app, until they are archived and a little longer. */
export interface LogStore {
  append(app: string, lines: LogLine[]): Promise<void>;
  /**
   * Lines after `after` (exclusive; "0" for all kept), at most `limit`, oldest first; with `tail`, the last `limit` ones, before
   * `before` (exclusive) where it is given.
   */
  read(
    app: string,
    options: {
      after?: string;
      before?: string;
      limit: number;
      tail?: boolean;
      fn?: string;
      invocation?: string;
    },
  ): Promise<LogLine[]>;
  /** Apps with a segment that is closed: its oldest line is older than `ageMs`, or it has `lines`. */
  due(limits: { ageMs: number; lines: number }): Promise<string[]>;
  /**
   * Makes `owner` the archiver of the app's next segment for `leaseMs`; `undefined` when there is none or it is another's. The
   * bounds of a segment do not change until it is `archived`: whoever takes over writes the same object.
   */
  takeSegment(
    app: string,
    owner: string,
    limits: { leaseMs: number; lines: number },
  ): Promise<{ first: string; last: string } | undefined>;
  /** The segment up to `last` is in the archive: its lines may leave. */
  archived(app: string, last: string): Promise<void>;
}

/** Hints between processes. They may get lost: whoever waits for one also looks at the truth from time to time. */
export interface Hints {
  /** A function has work: in its queue, or a call that is offered and not in the queue yet. */
  onWork(listener: (key: FunctionKey, offer?: Offer) => void): Promise<() => void>;
  /** All functions that had work lately; an empty queue is taken out by `idle`. */
  functionsWithWork(): Promise<FunctionKey[]>;
  /** The queue of this function was seen empty; a function whose work arrived meanwhile stays listed. */
  idle(key: FunctionKey, isEmpty: () => Promise<boolean>): Promise<void>;
  /** Something waits for its time, and nothing else is due earlier. */
  onDue(listener: () => void): Promise<() => void>;
  /** Invocations of this waiter that ended: their terminal records, less input and exception. */
  onDone(waiter: string, listener: (record: InvocationRecord) => void): Promise<() => void>;
  /** Cancels of attempts that this runner owns. */
  onCancel(runner: string, listener: (attempt: Attempt) => void): Promise<() => void>;
  /** Something about an app changed (deploy, rollback, delete). */
  appChanged(app: string): Promise<void>;
  onAppChanged(listener: (app: string) => void): Promise<() => void>;
  /** New lines in an app's log. */
  onLog(app: string, listener: () => void): Promise<() => void>;
  /** A followed invocation changed its state or has more chunks. */
  onChange(invocation: string, listener: () => void): Promise<() => void>;
}

/** Small things with an owner or an end. */
export interface Holds {
  /** Makes `invocation` the live writer of a series. Answers the other live writer's id when there is one. */
  takeSeries(series: string, attempt: Attempt): Promise<{ ok: true } | { ok: false; owner: string }>;
  /** An ephemeral version's manifest; it ends `ttlMs` after the last `keep`. */
  keepEphemeral(app: string, version: string, manifest: string, ttlMs: number): Promise<void>;
  ephemeral(app: string, version: string): Promise<string | undefined>;
  /** Makes the upload that of the call with this key, unless it is one's already; calls without a key ("") are all different. */
  takeUpload(upload: string, key: string, ttlMs: number): Promise<"taken" | "ours" | "others">;
  leaveUpload(upload: string): Promise<void>;
  dropEphemeral(app: string, version: string): Promise<void>;
}

export interface StateStore {
  invocations: InvocationStore;
  maps: MapStore;
  recovery: Recovery;
  capacity: CapacityLedger;
  logs: LogStore;
  loads: LoadStore;
  chunks: ChunkStore;
  hints: Hints;
  holds: Holds;
  schedules: ScheduleStore;
  posts: PostStore;
  webhooks: WebhookOutbox;
  expired: Expired;
  images: ImageState;
  /** Round trip; throws `redis_unavailable`. */
  ping(): Promise<void>;
  /** Fraction of maxmemory in use, 0 to 1. */
  memoryUse(): Promise<number>;
  close(): Promise<void>;
}
