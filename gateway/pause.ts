/** Waits for a time, or for the signal to abort, whichever comes first; leaves nothing behind on either. */
import type { Clock } from "../core/clock.ts";

export function pause(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      forget();
      signal.removeEventListener("abort", end);
      resolve();
    };
    const forget = clock.after(ms, end);
    if (signal.aborted) end();
    else signal.addEventListener("abort", end);
  });
}
