/** The part of the seam to the live state that repairs: each method is one atomic step, as in state-store.ts. */
import type { Attempt, QueuedEntry } from "./state-store.ts";

/** What the sweeper finds; each find is acted on with an ordinary step of InvocationStore or by adding to the queue. */
export interface Recovery {
  /**
   * One look: outbox entries older than `outboxAgeMs`; attempts whose lease ended (none for one lease time after the store
   * itself was away); queued records older than `queuedAgeMs` whose entry should be checked; maps that may get more inputs and
   * got none for `mapIdleMs`, where that is given.
   */
  find(limits: {
    outboxAgeMs: number;
    leaseMs: number;
    queuedAgeMs: number;
    mapIdleMs?: number;
    max: number;
  }): Promise<{
    outbox: QueuedEntry[];
    expired: Attempt[];
    queued: QueuedEntry[];
    idleMaps: string[];
  }>;
  /**
   * Moves what is due by now, at most `max`, to the outbox: each entry is answered once, whoever asks. `expired` are ids of
   * queued records that have waited too long; `nextInMs` is the time until the next is due or expires, if anything waits.
   */
  release(max: number): Promise<{ due: QueuedEntry[]; expired: string[]; nextInMs?: number }>;
  /** queued -> failed with `queue_expired`, if it still waits and its time is over. */
  endExpired(id: string): Promise<"ended" | "stale">;
  /** The queue lost the entry of a queued record: next generation, new outbox entry. `undefined` when it moved on meanwhile. */
  readd(entry: QueuedEntry): Promise<QueuedEntry | undefined>;
  /** The queue has this queued record's entry: look again only after another `queuedAgeMs`; its function counts as having work. */
  seen(entry: QueuedEntry): Promise<void>;
  /** The lease of this attempt ended; requeues (platform fault) or, over budget, fails with `node_lost`. Checked again atomically. */
  expire(attempt: Attempt, platformBudget: number): Promise<QueuedEntry | "failed" | "cancelled" | "stale">;
}
