/** Expired on Redis: a sorted set of invocations with objects in the bucket, by when their record expires. */
import type { Expired } from "../expired-store.ts";
import type { Commands } from "./connection.ts";
import type { RedisKeys } from "./keys.ts";

export function expired({ redis, run, safely }: Commands, keys: RedisKeys): Expired {
  return {
    async take(leaseMs, max) {
      const ids = (await run("expired-take", [keys.expiring], [leaseMs, max, keys.recordPrefix])) as Buffer[];
      return ids.map((id) => id.toString());
    },
    async gone(ids) {
      if (ids.length > 0) await safely(() => redis.zrem(keys.expiring, ...ids));
    },
    async known(ids) {
      // What another invocation took over has no record of its own, but is listed.
      const isKnown = async (id: string): Promise<boolean> =>
        (await redis.exists(keys.record(id))) === 1 || (await redis.zscore(keys.expiring, id)) !== null;
      const there = await safely(() => Promise.all(ids.map(isKnown)));
      return new Set(ids.filter((_, index) => there[index]));
    },
    maySearch: (everyMs) => safely(async () => (await redis.set(keys.collect, 1, "PX", everyMs, "NX")) === "OK"),
  };
}
