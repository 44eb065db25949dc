/** When a runner that cannot renew its leases must stop its own containers. */

export interface Contact {
  /** Monotonic; when a renewal was last answered, or when the first lease began. */
  renewedAt: number;
  /** Code of the newest connection error since then, if there was one. */
  lastError?: string;
}

/** Redis itself is down, not cut off from us: nobody else can take over meanwhile, and its leases get grace afterwards. */
const REFUSALS: ReadonlySet<string> = new Set(["ECONNREFUSED", "ENOENT"]);

/** Monotonic time in, so that a jump of the wall clock neither kills work nor lets two owners run. */
export function mustFence(contact: Contact, leaseMs: number, nowMonotonic: number): boolean {
  if (nowMonotonic - contact.renewedAt < leaseMs) return false;
  return contact.lastError === undefined || !REFUSALS.has(contact.lastError);
}
