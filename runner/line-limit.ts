/** How much one container may print: a bucket of lines that fills up again with time. */

export interface LineLimit {
  /** Lines a second in the long run; a line counts once for each KiB it begins. */
  perSecond: number;
  /** Lines at once. */
  burst: number;
}

const KIB = 1024;

/** Answers of each line whether it may pass; `now` is monotonic, in ms. */
export function lineLimit({ perSecond, burst }: LineLimit): (bytes: number, now: number) => boolean {
  let left = burst;
  let filledAt: number | undefined;
  return (bytes, now) => {
    left = Math.min(burst, left + ((now - (filledAt ?? now)) * perSecond) / 1000);
    filledAt = now;
    const cost = Math.max(1, Math.ceil(bytes / KIB));
    // A line that is larger than a whole burst passes when the bucket is full, or it never would.
    if (left < Math.min(cost, burst)) return false;
    left -= cost;
    return true;
  };
}
