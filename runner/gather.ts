/** Makes things that may wait a little happen together, so that their writes become one. */
import type { Clock } from "../core/clock.ts";

/** Everybody who asks within `ms` of the first goes on at the same moment. */
export function gather(clock: Clock, ms: number): () => Promise<void> {
  let next: Promise<void> | undefined;
  return () => {
    next ??= new Promise((resolve) => {
      clock.after(ms, () => {
        next = undefined;
        resolve();
      });
    });
    return next;
  };
}
