/** How many calls of a queue still need a slot: what another container would be started for. */
import type { FunctionKey } from "../core/invocation.ts";
import type { Queue } from "../core/queue.ts";
import type { Attempt } from "../core/state-store.ts";

export interface RealDepth {
  tookEntry(): void;
  /** Claimed before it was queued. */
  tookOffer(attempt: Attempt): void;
  ended(attempt: Attempt): void;
  /** Answers the number as of now whenever it is asked: what was taken meanwhile counts elsewhere already. */
  read(): Promise<() => number>;
}

/** Only where few such calls run is a container for nobody worth the look. */
const FEW = 4;

/**
 * Without entries of calls that were claimed by their offer while they were being queued: those are stale, and stay until a
 * slot is free to take them.
 */
export function realDepth(queue: Pick<Queue, "depth" | "has">, key: FunctionKey): RealDepth {
  /** And whether they have ended, which their entries outlive. */
  const offered = new Map<Attempt, boolean>();
  let taken = 0;
  return {
    tookEntry: () => void taken++,
    tookOffer(attempt) {
      taken++;
      offered.set(attempt, false);
    },
    ended(attempt) {
      if (offered.size > FEW) offered.delete(attempt);
      else if (offered.has(attempt)) offered.set(attempt, true);
    },
    async read() {
      const before = taken;
      const depth = await queue.depth(key);
      const looked = depth > 0 && offered.size <= FEW ? [...offered.keys()] : [];
      const isQueued = await Promise.all(looked.map((one) => queue.has(key, one)));
      for (const [i, one] of looked.entries()) if (!isQueued[i] && offered.get(one)) offered.delete(one);
      const stale = isQueued.filter(Boolean).length;
      return () => Math.max(0, depth - stale - (taken - before));
    },
  };
}
