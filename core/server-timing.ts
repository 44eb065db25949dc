/** Where the time of an invocation went, from its record's moments. */
import type { Moments } from "./invocation.ts";

export interface Timings {
  /** From when it was due until a runner took it. */
  queue?: number;
  /** Until it had a place, less the start of a container. */
  place?: number;
  /** Start of a container, less the user's imports. */
  boot?: number;
  /** The user's imports. */
  enter?: number;
  run?: number;
  /** Until the outcome was stored. */
  store?: number;
}

/** Milliseconds; a phase that has not ended is absent. */
export function timings(record: Moments): Timings {
  const { createdAt, dueAt = createdAt, claimedAt, startedAt, endedAt, finishedAt, bootMs = 0, enterMs = 0 } = record;
  const all: Timings = {
    queue: span(dueAt, claimedAt),
    place: startedAt === undefined ? undefined : span((claimedAt ?? startedAt) + bootMs, startedAt),
    boot: startedAt === undefined ? undefined : Math.max(0, bootMs - enterMs),
    enter: startedAt === undefined ? undefined : enterMs,
    run: span(startedAt, endedAt),
    store: span(endedAt, finishedAt),
  };
  for (const phase of Object.keys(all) as (keyof Timings)[]) if (all[phase] === undefined) delete all[phase];
  return all;
}

const span = (from: number | undefined, to: number | undefined): number | undefined =>
  from === undefined || to === undefined ? undefined : Math.max(0, to - from);

/** As the Server-Timing header; empty when no phase has ended. */
export function serverTiming(record: Moments): string {
  let header = "";
  for (const [phase, ms] of Object.entries(timings(record))) header += `${header ? ", " : ""}${phase};dur=${ms}`;
  return header;
}
