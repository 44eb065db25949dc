/** What a token may ask of a fabric: calls in a time, and calls that have not ended. Decided by the scripts that accept. */
import { fail } from "./errors.ts";

export interface Quota {
  /** Calls and inputs of maps in a time, as "100/s". */
  rate?: string;
  /** How many of them at once, after a quiet time; absent: as many as `rate` counts. */
  burst?: number;
  /** Calls and inputs of maps that were accepted and have not ended. */
  maxQueued?: number;
}

export interface TokenQuota extends Quota {
  /** Its id. */
  token: string;
}

const PERIODS: Record<string, number> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Zeros where the token has no rate. */
function bucketOf({ rate, burst }: Quota): { eachMs: number; burst: number } {
  if (rate === undefined) return { eachMs: 0, burst: 0 };
  const [count, unit] = rate.split("/");
  return { eachMs: PERIODS[unit!]! / Number(count), burst: burst ?? Number(count) };
}

/** As the scripts read it (lua/lib/2-quotas.lua): token, ms for each, how many at once, how many that have not ended; 0 for no limit. */
export function quotaText(quota: TokenQuota | undefined): string {
  if (!quota) return "";
  const { eachMs, burst } = bucketOf(quota);
  return `${quota.token} ${eachMs} ${burst} ${quota.maxQueued ?? 0}`;
}

/** Inputs of a map that may be accepted together: more would never be. */
export const mostTogether = (quota: TokenQuota | undefined): number =>
  quota
    ? Math.min(bucketOf(quota).burst || Number.POSITIVE_INFINITY, quota.maxQueued ?? Number.POSITIVE_INFINITY)
    : Number.POSITIVE_INFINITY;

/** `told` is what the script found: the ms until there is room in the rate, or how many have not ended. */
export function quotaExceeded(which: "rate" | "open", told: number, quota: TokenQuota | undefined): never {
  if (which === "rate")
    return fail("quota_exceeded", `the token may make ${quota?.rate} calls: nothing was accepted`, {
      limit: "rate",
      rate: quota?.rate,
      burst: quota && bucketOf(quota).burst,
      retryAfterMs: told,
      retryAfterSeconds: Math.ceil(told / 1000),
    });
  return fail("quota_exceeded", `${told} calls of the token have not ended, as many as may: nothing was accepted`, {
    limit: "max_queued",
    open: told,
    ...(quota?.maxQueued === undefined ? {} : { maxQueued: quota.maxQueued }),
  });
}
