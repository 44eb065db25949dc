/** StateStore on Redis (or Valkey): puts the pieces of core/redis together over one command and one subscriber connection. */
import type { Redis } from "ioredis";
import { FabricError } from "./errors.ts";
import { capacityLedger } from "./redis/capacity.ts";
import { commandsOn, connectSubscriber, failFastRedis } from "./redis/connection.ts";
import { hints, holds } from "./redis/hints.ts";
import { invocationStore } from "./redis/invocations.ts";
import { redisKeys } from "./redis/keys.ts";
import { logStore } from "./redis/logs.ts";
import { recovery } from "./redis/recovery.ts";
import type { StateStore } from "./state-store.ts";

/** From here on nothing new is accepted: at 100 % even the renewal of leases would fail. */
const FULL = 0.8;
const MEMORY_CHECK_MS = 1_000;

export interface RedisStateOptions {
  url: string;
  /** Connection for commands; made when absent. */
  redis?: Redis;
  prefix: string;
  recordTtlSeconds: number;
  /** Told of connection errors; the connections come back by themselves. */
  onError?: (error: Error) => void;
}

/** Returns at once; while Redis is away its methods throw `redis_unavailable`. */
export function redisState({
  url,
  redis,
  prefix,
  recordTtlSeconds,
  onError = () => {},
}: RedisStateOptions): StateStore {
  const commands = commandsOn(redis ?? failFastRedis(url, onError));
  const subscriber = connectSubscriber(url, onError);
  const keys = redisKeys(prefix);
  const invocations = invocationStore(commands, keys, recordTtlSeconds);
  let full = false;
  const memoryUse = async (): Promise<number> => {
    const info = await commands.safely(() => commands.redis.info("memory"));
    const used = Number(/^used_memory:(\d+)/m.exec(info)?.[1] ?? 0);
    const max = Number(/^maxmemory:(\d+)/m.exec(info)?.[1] ?? 0);
    return max > 0 ? used / max : 0;
  };
  const watchMemory = setInterval(() => {
    memoryUse().then((use) => {
      full = use > FULL;
    }, onError);
  }, MEMORY_CHECK_MS);
  watchMemory.unref();

  return {
    invocations: {
      ...invocations,
      // Throws before anything is sent, so that a caller who sends more right behind it does not.
      accept: (call, idempotency) => {
        if (full)
          throw new FabricError("too_many_invocations", "Redis is over 80 % of its memory; nothing was accepted.");
        return invocations.accept(call, idempotency);
      },
    },
    recovery: recovery(commands, keys, recordTtlSeconds, invocations),
    capacity: capacityLedger(commands, keys),
    logs: logStore(commands, keys),
    hints: hints(commands, subscriber, keys),
    holds: holds(commands, keys),
    ping: async () => void (await commands.safely(() => commands.redis.ping())),
    memoryUse,
    async close() {
      clearInterval(watchMemory);
      subscriber.close();
      commands.redis.disconnect();
    },
  };
}
