/**
 * The seam to the queue that wakes runners up. It owns nothing: the record decides who may run what, and an entry that is
 * lost, doubled or late costs time, never correctness. One implementation: BullMQ.
 */
import type { FunctionKey } from "./invocation.ts";
import type { Attempt, QueuedEntry } from "./state-store.ts";

export interface Queue {
  /**
   * Adding the same id and generation again is harmless. Those that are `behind` come out, in order, when no others wait. Throws
   * `redis_unavailable` within about 2 s: what was stored is then unknown.
   */
  add(key: FunctionKey, ...entries: (Attempt & Pick<QueuedEntry, "behind">)[]): Promise<void>;
  /** Entries waiting, not those taken. */
  depth(key: FunctionKey): Promise<number>;
  /** Neither waiting nor taken: nothing can come back by itself. */
  isEmpty(key: FunctionKey): Promise<boolean>;
  /** Is the entry waiting, or taken by a reader that still renews it? */
  has(key: FunctionKey, entry: Attempt): Promise<boolean>;
  /** For a runner that serves the function. `reader` names it and stays the same across restarts. */
  open(key: FunctionKey, reader: string): Promise<QueueReader>;
  /** Entries that come before this one; `undefined` when it is not waiting in the queue. */
  ahead(key: FunctionKey, entry: Attempt): Promise<number | undefined>;
  /** Removes the queue and all its entries. */
  remove(key: FunctionKey): Promise<void>;
  close(): Promise<void>;
}

export interface QueueReader {
  /** Takes the next entry without waiting; `undefined` when there is none. */
  next(): Promise<Attempt | undefined>;
  /** The entry is done with, whatever became of it. One that is gone already is no error. Works for entries taken before a restart. */
  acknowledge(entry: Attempt): Promise<void>;
  /** Gives a taken entry back to the front. */
  putBack(entry: Attempt): Promise<void>;
  /** Keeps taken entries from going back by themselves. */
  renew(entries: Attempt[]): Promise<void>;
  close(): Promise<void>;
}
