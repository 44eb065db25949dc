/** Repeats a step at growing intervals until it succeeds. */
import type { Clock } from "../core/clock.ts";
import { pause } from "./pause.ts";

const FIRST_MS = 100;
const LONGEST_MS = 2_000;

/** Rejects only when aborted; each failure is told. */
export async function untilDone(
  { clock, signal }: { clock: Clock; signal: AbortSignal },
  step: () => Promise<void>,
  onFailure: (error: Error) => void,
): Promise<void> {
  for (let pauseMs = FIRST_MS; ; pauseMs = Math.min(pauseMs * 2, LONGEST_MS)) {
    signal.throwIfAborted();
    try {
      return await step();
    } catch (error) {
      onFailure(error as Error);
    }
    await pause(clock, pauseMs, signal);
  }
}
