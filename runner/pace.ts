/** How many entries to take from a queue at once: pure, so that the hot path's pace can be reasoned about. */
import type { LiveAttempt } from "./attempt.ts";
import type { Pool } from "./pool.ts";

const MAX_PARALLEL = 64;
/** Inputs that end sooner than this are taken ahead of their slot: fetching the next one costs as much as running one. */
const SHORT_MS = 20;

/** Inputs worth holding beyond the free slots: what the busy ones get through in that time. `runMs` is a moving average. */
export function lookahead(runMs: number | undefined, busySlots: number): number {
  if (runMs === undefined || runMs >= SHORT_MS) return 0;
  return Math.min(Math.max(busySlots, 1) * Math.max(1, Math.floor(SHORT_MS / 2 / runMs)), MAX_PARALLEL);
}

/**
 * One look while it is unknown whether there is more; after every find, twice as many may look at once. What is held
 * `ahead` of slots is filled up when half of it is used, several entries at a time, because single ones cost the most.
 */
export function takesNow(room: number, streak: number, inFlight: number, ahead: number): number {
  if (streak > 0 && room < ahead / 2) return 0;
  const parallel = Math.min(MAX_PARALLEL, 2 ** Math.min(streak, 6));
  return Math.max(0, Math.min(room, parallel - inFlight));
}

export const STUCK_MS = 1_000;

/** What waits for a slot although every container is up, since before the last second. */
export const stuckIn = (
  pools: Iterable<Pick<Pool, "load" | "waiting">>,
  since: ReadonlyMap<LiveAttempt, number>,
  now: number,
): LiveAttempt[] =>
  [...pools].flatMap((one) => {
    const { starting, containers } = one.load(0);
    if (starting > 0 || containers === 0) return [];
    return one.waiting().filter((attempt) => now - (since.get(attempt) ?? now) >= STUCK_MS);
  });
