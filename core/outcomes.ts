/** Waits for invocations to end: a hint wakes the waiter, and a look at the record from time to time makes up for a lost one. */
import type { Clock } from "./clock.ts";
import { asFabricError } from "./errors.ts";
import { newId } from "./ids.ts";
import { type InvocationRecord, isTerminal } from "./invocation.ts";
import type { StateStore } from "./state-store.ts";

const FIRST_LOOK_MS = 500;
const LONGEST_GAP_MS = 5_000;

export interface Outcomes {
  /** Given to `accept` and `watch`, so that the end is told to this process. */
  readonly waiter: string;
  /**
   * The record when it has ended, or as it is after `waitMs`; `undefined` when there is none. Begin before the invocation is
   * accepted, and no hint can come too early. `isWanted` turning false ends the wait: its client has gone.
   */
  begin(id: string): PendingOutcome;
  /** Everybody who waits is answered with what is known now. */
  close(): void;
}

export interface PendingOutcome {
  wait(waitMs: number, isWanted?: () => boolean): Promise<InvocationRecord | undefined>;
  /** For a wait that never started. */
  forget(): void;
}

interface Waiter {
  /** Set by the hint that tells of the end. */
  ended?: InvocationRecord;
  wake: () => void;
}

export async function followOutcomes(
  state: Pick<StateStore, "hints" | "invocations">,
  clock: Clock,
  {
    waiter = newId("gwy"),
    onEnded = () => {},
  }: {
    /** Names this process; a restarted one that keeps its name is told of what it waited for before. */
    waiter?: string;
    /** Told of each end that somebody here waited for. */
    onEnded?: (record: InvocationRecord) => void;
  } = {},
): Promise<Outcomes> {
  const waiting = new Map<string, Set<Waiter>>();
  let isClosed = false;
  const stop = await state.hints.onDone(waiter, (record) => {
    onEnded(record);
    for (const one of waiting.get(record.id) ?? []) {
      one.ended = record;
      one.wake();
    }
  });

  function begin(id: string): PendingOutcome {
    const one: Waiter = { wake: () => {} };
    const beside = waiting.get(id);
    if (beside) beside.add(one);
    else waiting.set(id, new Set([one]));
    const forget = () => {
      const all = waiting.get(id);
      all?.delete(one);
      if (all?.size === 0) waiting.delete(id);
    };
    return {
      forget,
      async wait(waitMs, isWanted = () => true) {
        try {
          return await look(id, one, waitMs, isWanted);
        } finally {
          forget();
        }
      },
    };
  }

  async function look(id: string, one: Waiter, waitMs: number, isWanted: () => boolean) {
    const deadline = clock.monotonic() + waitMs;
    for (let gap = FIRST_LOOK_MS; ; gap = Math.min(gap * 2, LONGEST_GAP_MS)) {
      const left = deadline - clock.monotonic();
      if (!one.ended && !isClosed && left > 0) await pause(one, Math.min(gap, left));
      if (one.ended) return one.ended;
      const record = await read(id, () => clock.monotonic() < deadline && isWanted());
      if (record === "unknown") continue;
      if (!record || isTerminal(record.state) || clock.monotonic() >= deadline || isClosed || !isWanted())
        return record;
    }
  }

  /** An outage of the store does not end a wait: what was accepted before it is still there after it. */
  async function read(id: string, mayTryAgain: () => boolean): Promise<InvocationRecord | undefined | "unknown"> {
    try {
      return await state.invocations.get(id);
    } catch (error) {
      if (asFabricError(error).code === "redis_unavailable" && mayTryAgain()) return "unknown";
      throw error;
    }
  }

  const pause = (one: Waiter, ms: number) =>
    new Promise<void>((resolve) => {
      const stopTimer = clock.after(ms, resolve);
      one.wake = () => {
        stopTimer();
        resolve();
      };
    });

  return {
    waiter,
    begin,
    close() {
      isClosed = true;
      stop();
      for (const all of waiting.values()) for (const one of all) one.wake();
    },
  };
}
