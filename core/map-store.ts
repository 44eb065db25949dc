/** The part of the seam to the live state that maps need: each method is one atomic step, as in state-store.ts. */

import type { NewInvocation } from "./invocation.ts";
import type { TokenQuota } from "./quota.ts";
import type { Attempt, QueuedEntry } from "./state-store.ts";

/** Inputs of a slice that are to be tried again, or for the first time. */
export interface Again {
  first: number;
  count: number;
  charge: "user" | "platform" | "none";
  /** Each in an attempt of its own from now on. */
  solo: boolean;
  delayMs: number;
  why: string;
}

/** Maps: invocations of many inputs. Their slices are claimed, renewed and recovered like invocations. */
export interface MapStore {
  /** Stores the record of a map without inputs. Idempotent by key, by caller, and by what it redrives, like `accept`. */
  open(
    call: Omit<NewInvocation, "input" | "encoding">,
    idempotency?: { key: string; digest: string },
  ): Promise<{ id: string; created: boolean; mismatch?: boolean }>;
  /**
   * Adds one page of inputs as a queued slice with its outbox entry. Appending the same page again changes nothing and answers no
   * entry. `inlineBytes`: of the map's pages that wait in Redis. `body` is
   * left out when the page is in the bucket at `pageKey`. Throws `invocation_not_found`, `invocation_ended`, `map_sealed`, or
   * `map_gap` when `first` is not the number of inputs stored so far; `too_many_invocations` near the memory limit;
   * `queue_full` while `maxWaiting` of its inputs have not ended; `quota_exceeded`.
   */
  append(
    map: string,
    page: { first: number; count: number; body?: Buffer; maxWaiting?: number; quota?: TokenQuota },
  ): Promise<{ entry?: QueuedEntry; inlineBytes: number }>;
  /** No more inputs will come: the map ends when those it has do. */
  seal(map: string): Promise<void>;
  /** The same, if none came for so long; answers whether none did. */
  sealIdle(map: string, idleMs: number): Promise<boolean>;
  /** Is any of its slices with a runner? */
  runs(map: string): Promise<boolean>;
  /** A page that waits in Redis. */
  page(map: string, first: number): Promise<Buffer | undefined>;
  /** Indexes of the first inputs of the pages that are kept, in order: those of which not all inputs have succeeded. */
  pages(map: string): Promise<number[]>;
  /** Id of the slice that holds an input without an outcome. */
  sliceOf(map: string, index: number): Promise<string | undefined>;
  /** Keeps the first `keep` inputs of a running slice and queues the others. `undefined` when the attempt is stale. */
  split(attempt: Attempt, keep: number): Promise<QueuedEntry | undefined>;
  /**
   * Ends a running slice: its block of outcomes (if any input ended) and what of it is to run again, in one step. Answers the
   * entries to offer; those that wait for their time are left out.
   */
  finish(
    attempt: Attempt,
    ended: { block?: Buffer; succeeded: number; failed: number; again: Again[] },
  ): Promise<{ entries: QueuedEntry[] } | "stale">;
  /** Blocks of outcomes from position `from` on, in the order in which they were written. */
  blocks(map: string, from: number, max: number): Promise<Buffer[]>;
  /** A block was written, or the map ended. A hint: it may get lost. */
  onBlock(map: string, listener: () => void): Promise<() => void>;
}
