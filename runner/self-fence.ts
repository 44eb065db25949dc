/** When a runner that cannot renew its leases must stop its own containers. */
import type { Reach } from "./reach.ts";

/** Have the leases ended without an answer? Monotonic time in: a jump of the wall clock must not decide. */
export const leasesEnded = (renewedAt: number, leaseMs: number, nowMonotonic: number): boolean =>
  nowMonotonic - renewedAt >= leaseMs;

/**
 * Only a cut between this node and Redis lets others take over meanwhile. A Redis that is down or hangs serves nobody, and
 * when it is back no lease ends for one whole lease time.
 */
export const mustFence = (reach: Reach): boolean => reach === "unreachable";
