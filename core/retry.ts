/** The retry rule: whether a fault is tried again, after which delay, and which budget pays for it. */
import { ERRORS, type ErrorBody, type ErrorCode } from "./errors.ts";

/** Infrastructure faults an invocation survives, whatever its own `retries`. */
export const PLATFORM_BUDGET = 3;

export type Charge = "user" | "platform" | "none";

/** How long the n-th retry waits: `initialDelayMs * coefficient ** (n - 1)`, at most `maxDelayMs`. */
export interface Backoff {
  coefficient: number;
  initialDelayMs: number;
  maxDelayMs: number;
}

/** Of a policy that is only a number: one second, always. */
export const PLAIN_BACKOFF: Backoff = { coefficient: 1, initialDelayMs: 1_000, maxDelayMs: 60_000 };

export interface Spent {
  retries: number;
  backoff?: Backoff;
  userFaults: number;
  platformFaults: number;
  /** Nothing is tried again. */
  atMostOnce?: boolean;
}

export type RetryDecision = { retry: true; charge: "user" | "platform"; delayMs: number } | { retry: false };

/** User faults that another attempt can cure; the others would only repeat themselves. */
const CURABLE: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "exception",
  "exited",
  "container_crashed",
  "rank_failed",
  "out_of_memory",
  "timed_out",
  "disk_full",
]);

export const retryDelayMs = ({ coefficient, initialDelayMs, maxDelayMs }: Backoff, n: number): number =>
  Math.round(Math.min(maxDelayMs, initialDelayMs * coefficient ** (n - 1)));

/** `spent` is the record, or a single input of it, before this fault is charged. */
export function decideRetry(code: ErrorCode, spent: Spent): RetryDecision {
  if (spent.atMostOnce) return { retry: false };
  if (ERRORS[code].fault === "user")
    return CURABLE.has(code) && spent.userFaults < spent.retries
      ? { retry: true, charge: "user", delayMs: retryDelayMs(spent.backoff ?? PLAIN_BACKOFF, spent.userFaults + 1) }
      : { retry: false };
  return ERRORS[code].retryable && spent.platformFaults < PLATFORM_BUDGET
    ? { retry: true, charge: "platform", delayMs: 0 }
    : { retry: false };
}

/** For people: what the record says while the retry waits. */
export function retryReason(decision: RetryDecision & { retry: true }, spent: Spent, error: ErrorBody): string {
  const line = error.message.split("\n")[0]!.slice(0, 200);
  // An exception names itself.
  const what = error.code === "exception" ? line : `${error.code}: ${line}`;
  if (decision.charge === "platform") return `trying again after ${what}`;
  const when = decision.delayMs > 0 ? `in ${(decision.delayMs / 1000).toFixed(1)} s` : "at once";
  return `retry ${spent.userFaults + 1} of ${spent.retries} ${when} after ${what}`;
}
