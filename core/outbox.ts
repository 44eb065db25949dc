/** Brings accepted calls to their queues, unless a runner claims them first: a call to a warm container never needs its entry. */
import type { Clock } from "./clock.ts";
import { asFabricError } from "./errors.ts";
import { type FunctionKey, functionKey, type InvocationRecord, type Moments } from "./invocation.ts";
import type { Log } from "./log.ts";
import type { Queue } from "./queue.ts";
import { smooth } from "./smooth.ts";
import type { InvocationStore, QueuedEntry } from "./state-store.ts";

export interface OutboxDeps {
  state: { invocations: Pick<InvocationStore, "unclaimed" | "enqueued"> };
  queue: Pick<Queue, "add">;
  clock: Clock;
  log: Log;
}

export interface Outbox {
  /** The record and its outbox entry are stored, and runners were told. */
  post(entry: QueuedEntry): void;
  /** It has ended already: nobody needs to ask. How long it waited for a runner tells how long others may wait. */
  ended(record: Pick<InvocationRecord, "id" | "app" | "fn" | "attempts" | keyof Moments>): void;
  /** Calls of the function that were posted here and are not in its queue yet. */
  waiting(key: FunctionKey): number;
  /** Everything posted is in its queue, or claimed, or left to the sweeper. */
  close(): Promise<void>;
}

const SHORTEST_MS = 5;
const LONGEST_MS = 50;
/** Those of a function that would be due within this time are looked at together. */
const GATHER_MS = 3;
/** Functions whose waits are remembered. */
const MAX_LANES = 1_000;

/**
 * How long runners have for claiming an offered call before it goes the way over its queue. `claimMs` is what such calls
 * wait on average. Under load that grows, and so does this: a queue would only make more of the work that there is too much
 * of. What waits much longer than any head start has no slot, and is better off in the queue at once.
 */
export function headStartMs(claimMs: number | undefined): number {
  if (claimMs === undefined || claimMs > 2 * LONGEST_MS) return SHORTEST_MS;
  return Math.min(Math.max(3 * claimMs, SHORTEST_MS), LONGEST_MS);
}

/** Of one function: its calls, by id, oldest first. */
interface Lane {
  posted: Map<string, { entry: QueuedEntry; at: number }>;
  claimMs?: number;
  isTimed: boolean;
  /** On their way into the queue. */
  leaving: number;
}

/**
 * The store's outbox entry stands until the queue has the entry or a runner the record, so the sweeper makes up for what
 * fails here, and for a process that dies. An entry that is claimed while it is being added is stale, and forgotten by
 * whoever takes it.
 */
export function createOutbox({ state, queue, clock, log }: OutboxDeps): Outbox {
  const lanes = new Map<FunctionKey, Lane>();
  const adding = new Set<Promise<void>>();
  let isClosed = false;

  function laneOf(key: FunctionKey): Lane {
    const known = lanes.get(key);
    if (known) return known;
    if (lanes.size >= MAX_LANES) for (const [idle, { posted }] of lanes) if (posted.size === 0) lanes.delete(idle);
    const lane: Lane = { posted: new Map(), isTimed: false, leaving: 0 };
    lanes.set(key, lane);
    return lane;
  }

  function arm(key: FunctionKey, lane: Lane): void {
    const oldest = lane.posted.values().next().value;
    if (!oldest || lane.isTimed || isClosed) return;
    lane.isTimed = true;
    clock.after(Math.max(0, oldest.at + headStartMs(lane.claimMs) - clock.monotonic()), () => {
      lane.isTimed = false;
      send(key, lane, clock.monotonic() - headStartMs(lane.claimMs) + GATHER_MS);
      arm(key, lane);
    });
  }

  /** Those posted until then. */
  function send(key: FunctionKey, lane: Lane, until: number): void {
    const { posted } = lane;
    const due: QueuedEntry[] = [];
    for (const [id, { entry, at }] of posted) {
      if (at > until) break;
      posted.delete(id);
      due.push(entry);
    }
    if (due.length === 0) return;
    const added = enqueueUnclaimed(key, due).catch((error: unknown) => {
      const { code, message } = asFabricError(error);
      log.warn({ entries: due.length, code, error: message }, "left to the sweeper: not queued yet");
    });
    adding.add(added);
    lane.leaving += due.length;
    void added.then(() => {
      adding.delete(added);
      lane.leaving -= due.length;
    });
  }

  async function enqueueUnclaimed(key: FunctionKey, due: QueuedEntry[]): Promise<void> {
    const entries = await state.invocations.unclaimed(due);
    if (entries.length === 0) return;
    await queue.add(key, ...entries);
    await state.invocations.enqueued(...entries);
  }

  return {
    post(entry) {
      const lane = laneOf(entry.key);
      lane.posted.set(entry.id, { entry, at: clock.monotonic() });
      arm(entry.key, lane);
    },
    ended({ id, app, fn, attempts, createdAt, dueAt = createdAt, claimedAt }) {
      const lane = lanes.get(functionKey(app, fn));
      if (!lane) return;
      lane.posted.delete(id);
      if (attempts === 1 && claimedAt !== undefined) lane.claimMs = smooth(lane.claimMs, claimedAt - dueAt);
    },
    waiting(key) {
      const { posted, leaving } = lanes.get(key) ?? { posted: new Map(), leaving: 0 };
      return posted.size + leaving;
    },
    async close() {
      isClosed = true;
      for (const [key, lane] of lanes) send(key, lane, Number.POSITIVE_INFINITY);
      await Promise.all(adding);
    },
  };
}
