/**
 * The seam to the live state. One implementation (Redis and Lua); each method is one atomic step, so that a process may
 * die between any two of them. All methods throw `redis_unavailable` when the store does not answer; whether the step was
 * taken is then unknown, and repeating it is harmless.
 */
import type { Claim, FunctionKey, InvocationRecord, Moments, NewInvocation, Outcome } from "./invocation.ts";

export interface Attempt {
  id: string;
  generation: number;
}

export interface QueuedEntry extends Attempt {
  key: FunctionKey;
}

/** Invocations: DESIGN's life of an invocation, step by step. */
export interface InvocationStore {
  /**
   * Stores the record (generation 1, queued) with its outbox entry. With an idempotency key that was used before: the earlier
   * id and `created: false`; `mismatch: true` when the digest of the call differs. Throws `too_many_invocations` near the memory limit.
   */
  accept(
    call: NewInvocation,
    idempotency?: { key: string; digest: string },
  ): Promise<{ id: string; created: boolean; mismatch?: boolean }>;
  /** The queue has the entry: forget the outbox entry and tell runners that the function has work. */
  enqueued(entry: QueuedEntry): Promise<void>;
  /**
   * Takes ownership for `leaseMs`: queued -> running. `undefined` when the entry is stale: the record is gone, ended, or of
   * another generation; the entry is then to be acknowledged and forgotten.
   */
  claim(attempt: Attempt, owner: { runner: string; node: string; leaseMs: number }): Promise<Claim | undefined>;
  /** Notes where the attempt runs, its moments, or a reason; for people, never decides anything. Stale attempts change nothing. */
  note(
    attempt: Attempt,
    facts: { container?: string; reason?: string; series?: string; startsOver?: boolean } & Partial<Moments>,
  ): Promise<void>;
  /** Extends leases held by `runner`. Answers which attempts are no longer its own and which of the kept ones someone wants cancelled. */
  renew(runner: string, attempts: Attempt[], leaseMs: number): Promise<{ lost: Attempt[]; cancel: Attempt[] }>;
  /** running -> terminal, only for the current generation. `stale` changes nothing. Tells the waiters. */
  finish(attempt: Attempt, outcome: Outcome, moments: Partial<Moments>): Promise<"finished" | "stale">;
  /**
   * running -> queued under the next generation with an outbox entry, charging the given budget. Answers the new entry, `cancelled` when a cancel was wanted
   * (the record is terminal then), or `stale`.
   */
  requeue(
    attempt: Attempt,
    charge: "user" | "platform" | "none",
    why: string,
  ): Promise<QueuedEntry | "cancelled" | "stale">;
  /** queued -> cancelled at once; running -> its runner is told. */
  cancel(id: string): Promise<"cancelled" | "cancelling" | "ended" | "missing">;
  get(id: string): Promise<InvocationRecord | undefined>;
  /** Newest first, of the last 10,000. */
  list(filter: { app?: string; fn?: string; limit: number }): Promise<InvocationRecord[]>;
  /** Registers `waiter` (a gateway id) to be told of the end; answers the record as it is now. */
  watch(id: string, waiter: string): Promise<InvocationRecord | undefined>;
  /** Records running under `runner`: what a restarted runner looks for in its containers. */
  ownedBy(runner: string): Promise<InvocationRecord[]>;
}

/** What the sweeper finds; each find is acted on with an ordinary step of InvocationStore or by adding to the queue. */
export interface Recovery {
  /**
   * One look: outbox entries older than `outboxAgeMs`; attempts whose lease ended (none for one lease time after the store
   * itself was away); queued records older than `queuedAgeMs` whose entry should be checked.
   */
  find(limits: { outboxAgeMs: number; leaseMs: number; queuedAgeMs: number; max: number }): Promise<{
    outbox: QueuedEntry[];
    expired: Attempt[];
    queued: QueuedEntry[];
  }>;
  /** The queue lost the entry of a queued record: next generation, new outbox entry. `undefined` when it moved on meanwhile. */
  readd(entry: QueuedEntry): Promise<QueuedEntry | undefined>;
  /** The queue has this queued record's entry: look again only after another `queuedAgeMs`; its function counts as having work. */
  seen(entry: QueuedEntry): Promise<void>;
  /** The lease of this attempt ended; requeues (platform fault) or, over budget, fails with `node_lost`. Checked again atomically. */
  expire(attempt: Attempt, platformBudget: number): Promise<QueuedEntry | "failed" | "cancelled" | "stale">;
}

export interface Gpu {
  uuid: string;
  /** As nvidia-smi names it, e.g. "NVIDIA H200". */
  model: string;
  memoryBytes: number;
}

export interface NodeFacts {
  id: string;
  runner: string;
  engine: string;
  hostname: string;
  cpuMillis: number;
  memoryBytes: number;
  gpus: Gpu[];
  startedAt: number;
}

export interface CapacityRequest {
  node: string;
  container: string;
  key: FunctionKey;
  cpuMillis: number;
  memoryBytes: number;
  /** How many, of which model ("any" for whichever); absent for none. */
  gpu?: { model: string; count: number };
  /** Of this function, over all nodes, this one included. */
  maxContainers: number;
}

export interface Booking {
  container: string;
  key: FunctionKey;
  cpuMillis: number;
  memoryBytes: number;
  gpus: string[];
}

/** What each node has and what of it is booked: one ledger for all runners. */
export interface CapacityLedger {
  /** Announces or refreshes a node; it counts as gone when not refreshed for `ttlMs`. */
  announce(node: NodeFacts, ttlMs: number): Promise<void>;
  withdraw(node: string): Promise<void>;
  nodes(): Promise<NodeFacts[]>;
  /** All requests or none. Answers the bookings in order, or in words what is missing ("no memory: 512 MiB asked, 100 MiB free on nod_x"). */
  book(requests: CapacityRequest[]): Promise<Booking[] | { refused: string }>;
  release(node: string, containers: string[]): Promise<void>;
  bookings(node: string): Promise<Booking[]>;
}

export interface LogLine {
  /** Position in the app's log; absent when appending. */
  seq?: string;
  at: number;
  fn: string;
  invocation?: string;
  container: string;
  source: "stdout" | "stderr" | "system";
  text: string;
}

/** What functions print: the last ~20,000 lines of each app. */
export interface LogStore {
  append(app: string, lines: LogLine[]): Promise<void>;
  /** Lines after `after` (exclusive; "0" for all kept), at most `limit`, oldest first; with `tail`, the last `limit` ones. */
  read(
    app: string,
    options: { after?: string; limit: number; tail?: boolean; fn?: string; invocation?: string },
  ): Promise<LogLine[]>;
}

/** Hints between processes. They may get lost: whoever waits for one also looks at the truth from time to time. */
export interface Hints {
  /** A function has work. */
  onWork(listener: (key: FunctionKey) => void): Promise<() => void>;
  /** All functions that had work lately; an empty queue is taken out by `idle`. */
  functionsWithWork(): Promise<FunctionKey[]>;
  /** The queue of this function was seen empty; a function whose work arrived meanwhile stays listed. */
  idle(key: FunctionKey, isEmpty: () => Promise<boolean>): Promise<void>;
  /** Invocations of this waiter that ended: their terminal records, less input and exception. */
  onDone(waiter: string, listener: (record: InvocationRecord) => void): Promise<() => void>;
  /** Cancels of attempts that this runner owns. */
  onCancel(runner: string, listener: (attempt: Attempt) => void): Promise<() => void>;
  /** Something about an app changed (deploy, rollback, delete). */
  appChanged(app: string): Promise<void>;
  onAppChanged(listener: (app: string) => void): Promise<() => void>;
  /** New lines in an app's log. */
  onLog(app: string, listener: () => void): Promise<() => void>;
}

/** Small things with an owner or an end. */
export interface Holds {
  /** Makes `invocation` the live writer of a series. Answers the other live writer's id when there is one. */
  takeSeries(series: string, attempt: Attempt): Promise<{ ok: true } | { ok: false; owner: string }>;
  /** An ephemeral version's manifest; it ends `ttlMs` after the last `keep`. */
  keepEphemeral(app: string, version: string, manifest: string, ttlMs: number): Promise<void>;
  ephemeral(app: string, version: string): Promise<string | undefined>;
  dropEphemeral(app: string, version: string): Promise<void>;
}

export interface StateStore {
  invocations: InvocationStore;
  recovery: Recovery;
  capacity: CapacityLedger;
  logs: LogStore;
  hints: Hints;
  holds: Holds;
  /** Round trip; throws `redis_unavailable`. */
  ping(): Promise<void>;
  /** Fraction of maxmemory in use, 0 to 1. */
  memoryUse(): Promise<number>;
  close(): Promise<void>;
}
