/** Asks a Redis whether it answers and how it evicts: BullMQ loses work under any policy but noeviction. */
import { setTimeout as wait } from "node:timers/promises";
import { Redis } from "ioredis";
import { LocalFailure } from "./failure.ts";

const PROBE_TIMEOUT_MS = 3000;

async function ask<T>(url: string, question: (redis: Redis) => Promise<T>): Promise<T> {
  const redis = new Redis(url, {
    lazyConnect: true,
    retryStrategy: () => null,
    connectTimeout: PROBE_TIMEOUT_MS,
    commandTimeout: PROBE_TIMEOUT_MS,
    enableReadyCheck: false,
  });
  let lastError: Error | undefined;
  redis.on("error", (error) => {
    lastError = error; // the rejection of connect() says only "Connection is closed."
  });
  try {
    await redis.connect();
    return await question(redis);
  } catch (error) {
    throw lastError ?? error;
  } finally {
    redis.disconnect();
  }
}

/** Resolves once PING is answered; a server that is still loading its data refuses it. */
export async function redisAnswers(url: string, signal: AbortSignal): Promise<void> {
  for (;;) {
    try {
      await ask(url, (redis) => redis.ping());
      return;
    } catch (error) {
      if (signal.aborted) throw error;
    }
    await wait(50, undefined, { signal });
  }
}

/** For an external Redis: throws when it does not answer or may throw data away. */
export async function checkExternalRedis(url: string): Promise<void> {
  const shown = new URL(url).host;
  let policy: string | undefined;
  try {
    const info = await ask(url, (redis) => redis.info("memory"));
    policy = /maxmemory_policy:(\S+)/.exec(info)?.[1];
  } catch (error) {
    throw new LocalFailure(
      `the Redis at ${shown} (FABRIC_REDIS_URL) does not answer: ${error instanceof Error ? error.message : error}`,
      "Start it, correct FABRIC_REDIS_URL, or unset it: `fabric up` then starts its own.",
      { cause: error },
    );
  }
  if (policy !== undefined && policy !== "noeviction")
    throw new LocalFailure(
      `the Redis at ${shown} evicts data (maxmemory-policy ${policy}), which would lose calls`,
      "Set `maxmemory-policy noeviction` on it.",
    );
}
