/** Keeps trying while a store is away: an outage may delay a step, never lose it. */
import { setTimeout as delay } from "node:timers/promises";
import { FabricError } from "./errors.ts";

const FIRST_MS = 50;
const LONGEST_MS = 1_000;

export const isOutage = (thrown: unknown): boolean =>
  thrown instanceof FabricError && (thrown.code === "redis_unavailable" || thrown.code === "storage_unavailable");

/** Repeats `act` through outages until it succeeds, fails otherwise, or `signal` aborts (its reason is thrown then). */
export async function untilDone<T>(
  act: () => Promise<T>,
  signal?: AbortSignal,
  onOutage: (error: FabricError) => void = () => {},
): Promise<T> {
  for (let waitMs = FIRST_MS; ; waitMs = Math.min(waitMs * 2, LONGEST_MS)) {
    signal?.throwIfAborted();
    try {
      return await act();
    } catch (thrown) {
      if (!isOutage(thrown)) throw thrown;
      onOutage(thrown as FabricError);
    }
    await delay(waitMs, undefined, { signal });
  }
}
