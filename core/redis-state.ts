/** StateStore on Redis (or Valkey): puts the pieces of core/redis together over one command and one subscriber connection. */
import type { Redis } from "ioredis";
import { FabricError } from "./errors.ts";
import { capacityLedger } from "./redis/capacity.ts";
import { chunkStore } from "./redis/chunks.ts";
import { commandsOn, connectSubscriber, failFastRedis } from "./redis/connection.ts";
import { expired } from "./redis/expired.ts";
import { hints, holds } from "./redis/hints.ts";
import { imageState } from "./redis/images.ts";
import { invocationStore } from "./redis/invocations.ts";
import { redisKeys } from "./redis/keys.ts";
import { loadStore } from "./redis/loads.ts";
import { logStore } from "./redis/logs.ts";
import { mapStore } from "./redis/maps.ts";
import { postStore } from "./redis/posts.ts";
import { recovery } from "./redis/recovery.ts";
import { scheduleStore } from "./redis/schedules.ts";
import { webhookOutbox } from "./redis/webhooks.ts";
import type { StateStore } from "./state-store.ts";

/** From here on nothing new is accepted: at 100 % even the renewal of leases would fail. */
const FULL = 0.8;
/** More than a second is never waited, however far the limit; and what processes write together is not faster than this. */
const LONGEST_MS = 1_000;
const SHORTEST_MS = 50;
const FASTEST_BYTES_PER_MS = 256 * 1024;

/** When to look again, so that memory is not filled beyond the limit in between. */
export function memoryCheckMs({ used, max }: { used: number; max: number }): number {
  if (max === 0) return LONGEST_MS;
  return Math.min(LONGEST_MS, Math.max(SHORTEST_MS, (max * FULL - used) / FASTEST_BYTES_PER_MS));
}

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
  const maps = mapStore(commands, subscriber, keys, recordTtlSeconds);
  let full = false;
  // Throws before anything is sent, so that a caller who sends more right behind it does not.
  const refuseWhenFull = (): void => {
    if (full) throw new FabricError("too_many_invocations", "Redis is over 80 % of its memory; nothing was accepted.");
  };
  const memory = async (): Promise<{ used: number; max: number }> => {
    const info = await commands.safely(() => commands.redis.info("memory"));
    const used = Number(/^used_memory:(\d+)/m.exec(info)?.[1] ?? 0);
    const max = Number(/^maxmemory:(\d+)/m.exec(info)?.[1] ?? 0);
    return { used, max };
  };
  const use = ({ used, max }: { used: number; max: number }): number => (max > 0 ? used / max : 0);
  let watchMemory: NodeJS.Timeout;
  let closed = false;
  const watch = (afterMs: number): void => {
    if (closed) return;
    watchMemory = setTimeout(() => {
      memory()
        .then((seen) => {
          full = use(seen) > FULL;
          return memoryCheckMs(seen);
        })
        .catch((error: Error) => {
          onError(error);
          return LONGEST_MS;
        })
        .then(watch);
    }, afterMs);
    watchMemory.unref();
  };
  watch(SHORTEST_MS);

  return {
    invocations: {
      ...invocations,
      accept: (call, idempotency) => {
        refuseWhenFull();
        return invocations.accept(call, idempotency);
      },
    },
    maps: {
      ...maps,
      async open(call, idempotency) {
        refuseWhenFull();
        return maps.open(call, idempotency);
      },
      async append(map, page) {
        refuseWhenFull();
        return maps.append(map, page);
      },
    },
    recovery: recovery(commands, keys, recordTtlSeconds, invocations),
    capacity: capacityLedger(commands, keys),
    logs: logStore(commands, keys),
    loads: loadStore(commands, keys),
    chunks: chunkStore(commands, keys),
    hints: hints(commands, subscriber, keys),
    holds: holds(commands, keys),
    schedules: scheduleStore(commands, keys),
    expired: expired(commands, keys),
    images: imageState(commands, subscriber, keys),
    posts: postStore(commands, subscriber, keys),
    webhooks: webhookOutbox(commands, subscriber, keys),
    ping: async () => void (await commands.safely(() => commands.redis.ping())),
    memoryUse: async () => use(await memory()),
    async close() {
      closed = true;
      clearTimeout(watchMemory);
      subscriber.close();
      commands.redis.disconnect();
    },
  };
}
