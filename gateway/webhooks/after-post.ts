/** What follows an attempt to send a webhook: delivered, tried again with growing pauses, or given up. Pure. */
import type { Delivery } from "../../core/webhook-outbox.ts";
import type { Posted } from "./post.ts";

const FIRST_PAUSE_MS = 5_000;
const LONGEST_PAUSE_MS = 3_600_000;
/** From the invocation's end on; its record is kept at least as long (lua/lib). */
export const GIVE_UP_MS = 6 * 3_600_000;
/** The receiver says that nobody will ever listen there again. */
const GONE = 410;

export interface Verdict {
  delivery: Delivery;
  retryInMs?: number;
}

/** `attempts` counts this one; `random` is from 0 to 1. */
export function afterPost(posted: Posted, attempts: number, finishedAt: number, now: number, random: number): Verdict {
  const outcome = { attempts, ...posted };
  const isDelivered = "status" in posted && posted.status >= 200 && posted.status < 300;
  if (isDelivered) return { delivery: { state: "delivered", ...outcome, endedAt: now } };
  const pause = Math.min(FIRST_PAUSE_MS * 4 ** (attempts - 1), LONGEST_PAUSE_MS);
  const retryInMs = Math.round(pause * (0.8 + 0.4 * random));
  const isGone = "status" in posted && posted.status === GONE;
  if (isGone || now + retryInMs > finishedAt + GIVE_UP_MS)
    return { delivery: { state: "failed", ...outcome, endedAt: now } };
  return { delivery: { state: "pending", ...outcome, nextAt: now + retryInMs }, retryInMs };
}
