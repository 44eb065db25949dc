/** Asks again for calls that functions make while Redis has no room for them, as clients outside do. */
import type { Clock } from "../core/clock.ts";
import { FabricError } from "../core/errors.ts";
import { untilDone } from "../core/until-done.ts";

const PAUSE_MS = 500;
const PATIENCE_MS = 60_000;

const isFull = (thrown: unknown): boolean => thrown instanceof FabricError && thrown.code === "too_many_invocations";

export async function untilAccepted<T>(clock: Clock, act: () => Promise<T>, signal: AbortSignal): Promise<T> {
  const began = clock.monotonic();
  for (;;) {
    try {
      return await untilDone(act, signal);
    } catch (thrown) {
      if (!isFull(thrown) || clock.monotonic() - began >= PATIENCE_MS) throw thrown;
    }
    // Looks at the signal before it asks again.
    await new Promise<void>((resolve) => clock.after(PAUSE_MS, resolve));
  }
}
