/** How long to wait before a process that died is started again: at once the first time, then ever longer, 10 s at most. */

const FIRST_MS = 200;
const LONGEST_MS = 10_000;
/** A process that lived this long was well: its next death counts as the first. */
export const STEADY_MS = 30_000;

/** @param deaths how many times in a row it died young, this death included. */
export const restartDelay = (deaths: number): number =>
  deaths <= 1 ? 0 : Math.min(FIRST_MS * 2 ** Math.min(deaths - 2, 16), LONGEST_MS);

export const countDeath = (deathsBefore: number, livedMs: number): number =>
  livedMs >= STEADY_MS ? 1 : deathsBefore + 1;
