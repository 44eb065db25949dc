/** The retry rule: whether a fault is tried again, and which budget pays for it. */
import { ERRORS, type ErrorCode } from "./errors.ts";

/** Infrastructure faults an invocation survives, whatever its own `retries`. */
export const PLATFORM_BUDGET = 3;

export type Charge = "user" | "platform" | "none";

export interface Spent {
  retries: number;
  userFaults: number;
  platformFaults: number;
}

export type RetryDecision = { retry: true; charge: Exclude<Charge, "none"> } | { retry: false };

/** User faults that another attempt can cure; the others would only repeat themselves. */
const CURABLE: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "exception",
  "exited",
  "container_crashed",
  "out_of_memory",
  "timed_out",
  "disk_full",
]);

/** `spent` is the record before this fault is charged. */
export function decideRetry(code: ErrorCode, spent: Spent): RetryDecision {
  if (ERRORS[code].fault === "user")
    return CURABLE.has(code) && spent.userFaults < spent.retries ? { retry: true, charge: "user" } : { retry: false };
  return ERRORS[code].retryable && spent.platformFaults < PLATFORM_BUDGET
    ? { retry: true, charge: "platform" }
    : { retry: false };
}
