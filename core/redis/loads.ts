/** Loads on Redis: one hash per runner that ends with it, and one of averages that stay. */
import type { FunctionKey } from "../invocation.ts";
import type { FunctionLoad, FunctionPace, LoadStore, LoadsOfRunner } from "../load.ts";
import type { Commands } from "./connection.ts";
import type { RedisKeys } from "./keys.ts";

export function loadStore({ redis, safely }: Commands, keys: RedisKeys): LoadStore {
  return {
    publish: (runner, loads, ttlMs) =>
      safely(async () => {
        const entries = Object.entries(loads);
        const step = redis.multi().del(keys.load(runner));
        for (const [key, load] of entries) {
          step.hset(keys.load(runner), key, JSON.stringify(load));
          const { runMs, bootMs } = load;
          if (runMs !== undefined || bootMs !== undefined) step.hset(keys.pace, key, JSON.stringify({ runMs, bootMs }));
        }
        if (entries.length > 0) step.pexpire(keys.load(runner), ttlMs);
        for (const [error] of (await step.exec()) ?? []) if (error) throw error;
      }),

    read: (runners) =>
      safely(async () => {
        const all = await Promise.all(runners.map((runner) => redis.hgetall(keys.load(runner))));
        return all.map(
          (texts) =>
            Object.fromEntries(
              Object.entries(texts).map(([key, text]) => [key, JSON.parse(text) as FunctionLoad]),
            ) as LoadsOfRunner,
        );
      }),

    paces: (wanted: readonly FunctionKey[]) =>
      safely(async () => {
        if (wanted.length === 0) return [];
        const texts = await redis.hmget(keys.pace, ...wanted);
        return texts.map((text) => (text === null ? undefined : (JSON.parse(text) as FunctionPace)));
      }),
  };
}
