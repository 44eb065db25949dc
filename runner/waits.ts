/** Which calls the attempts of this runner wait for: while all inside a container wait, others may have its place. */
import type { Clock } from "../core/clock.ts";
import type { LiveAttempt } from "./attempt.ts";

export interface Waits {
  /** Does `act`, during which the attempt waits for the call. */
  during<T>(attempt: LiveAttempt, wait: WaitFor, act: () => Promise<T>): Promise<T>;
  /** Who waits: by itself, or `all` that is in its container with it. */
  how(attempt: LiveAttempt): "alone" | "all" | undefined;
  /** What those are that it cannot go on without. */
  of(attempt: LiveAttempt): Waiting;
  isEmpty(): boolean;
  /** Told when an attempt goes on. */
  onGoingOn(listener: (attempt: LiveAttempt) => void): void;
}

export interface WaitFor {
  call: string;
  /** Unless the call ends, it waits for ever. */
  isEndless: boolean;
  /** Nothing else in its container goes on meanwhile: one call of a batched function serves them all. */
  isForAll: boolean;
}

export interface Waiting {
  /** The earliest hundred. */
  calls: string[];
  /** Monotonic; of the earliest of them, infinite without one. */
  since: number;
}

type Wait = WaitFor & { since: number };

const LISTED = 100;

export function createWaits(clock: Clock): Waits {
  const all = new Map<LiveAttempt, Set<Wait>>();
  let tell = (_attempt: LiveAttempt): void => {};

  return {
    async during(attempt, waitFor, act) {
      const wait: Wait = { ...waitFor, since: clock.monotonic() };
      const mine = all.get(attempt) ?? new Set();
      all.set(attempt, mine.add(wait));
      try {
        return await act();
      } finally {
        mine.delete(wait);
        if (mine.size === 0) {
          all.delete(attempt);
          tell(attempt);
        }
      }
    },
    how(attempt) {
      const mine = all.get(attempt);
      if (!mine) return undefined;
      for (const { isForAll } of mine) return isForAll ? "all" : "alone";
    },
    of(attempt) {
      const calls: string[] = [];
      let since = Number.POSITIVE_INFINITY;
      for (const wait of all.get(attempt) ?? []) {
        if (!wait.isEndless) continue;
        since = Math.min(since, wait.since);
        if (calls.push(wait.call) === LISTED) break;
      }
      return { calls, since };
    },
    isEmpty: () => all.size === 0,
    onGoingOn: (listener) => (tell = listener),
  };
}
