/** How many entries to take from a queue at once: pure, so that the hot path's pace can be reasoned about. */

const MAX_PARALLEL = 64;
/** Inputs that end sooner than this are taken ahead of their slot: fetching the next one costs as much as running one. */
const SHORT_MS = 20;

/** Entries worth holding beyond the free slots; `runMs` is a moving average. */
export const lookahead = (runMs: number | undefined, busySlots: number): number =>
  runMs !== undefined && runMs < SHORT_MS ? Math.min(Math.max(busySlots, 1), MAX_PARALLEL) : 0;

/**
 * One look while it is unknown whether there is more; after every find, twice as many may look at once. What is held
 * `ahead` of slots is filled up when half of it is used, several entries at a time, because single ones cost the most.
 */
export function takesNow(room: number, streak: number, inFlight: number, ahead: number): number {
  if (streak > 0 && room < ahead / 2) return 0;
  const parallel = Math.min(MAX_PARALLEL, 2 ** Math.min(streak, 6));
  return Math.max(0, Math.min(room, parallel - inFlight));
}

/** A moving average in which the newest counts a tenth. */
export const smooth = (before: number | undefined, now: number): number =>
  before === undefined ? now : before * 0.9 + now * 0.1;
