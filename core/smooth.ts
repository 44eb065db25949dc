/** A moving average in which the newest counts a tenth. */
export const smooth = (before: number | undefined, now: number): number =>
  before === undefined ? now : before * 0.9 + now * 0.1;
