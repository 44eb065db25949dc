/** Lets somebody wait for a hint or a time, whichever comes first. */
import type { Clock } from "./clock.ts";

/** Rings that come while nobody waits are kept: the next wait returns at once. */
export function doorbell(clock: Clock, signal: AbortSignal): { ring(): void; wait(ms: number): Promise<void> } {
  let rang = false;
  let wake = () => {};
  const ring = () => {
    rang = true;
    wake();
  };
  signal.addEventListener("abort", ring);
  return {
    ring,
    async wait(ms) {
      if (!rang) {
        await new Promise<void>((resolve) => {
          const forget = clock.after(ms, resolve);
          wake = () => [forget(), resolve()];
        });
      }
      rang = false;
    },
  };
}
