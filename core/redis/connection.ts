/** A Redis connection with our scripts on it, and the one place where its errors become `redis_unavailable`. */
import { readdirSync, readFileSync } from "node:fs";
import type { Duplex } from "node:stream";
import { fileURLToPath } from "node:url";
import { Redis, type RedisOptions, ReplyError } from "ioredis";
import { coalesceWrites } from "../coalesce.ts";
import { FabricError } from "../errors.ts";

const LUA = fileURLToPath(new URL("./lua/", import.meta.url));

/** Commands that fail fast: a caller who waits for an answer learns within about 2 s that there is none. */
const COMMANDS: RedisOptions = {
  enableOfflineQueue: false,
  maxRetriesPerRequest: 0,
  commandTimeout: 2_000,
  connectTimeout: 3_000,
  retryStrategy: (times) => Math.min(times * 50, 1_000),
};

export interface Commands {
  redis: Redis;
  /** Runs `lua/<name>.lua`; replies come as Buffers. */
  run(name: string, keys: string[], args: (string | number | Buffer)[]): Promise<unknown>;
  /** Wraps a plain command so that a lost connection throws `redis_unavailable`. */
  safely<T>(command: () => Promise<T>): Promise<T>;
}

/** Starts connecting and returns at once. */
export function failFastRedis(url: string, onError: (error: Error) => void): Redis {
  return watched(new Redis(url, COMMANDS), onError);
}

/** Commands that wait for Redis to come back: what a runner already has must not be lost by an outage. */
export function patientRedis(url: string, onError: (error: Error) => void): Redis {
  return watched(new Redis(url, { maxRetriesPerRequest: null, retryStrategy: COMMANDS.retryStrategy! }), onError);
}

function watched(redis: Redis, onError: (error: Error) => void): Redis {
  redis.on("error", onError);
  redis.on("connect", () => coalesceWrites(redis.stream as Duplex));
  return redis;
}

/** What is called while Redis is away throws `redis_unavailable`. */
export function commandsOn(redis: Redis): Commands {
  const lib = readFileSync(`${LUA}lib.lua`, "utf8");
  for (const file of readdirSync(LUA)) {
    if (file === "lib.lua") continue;
    redis.defineCommand(scriptName(file.slice(0, -4)), { lua: `${lib}\n${readFileSync(LUA + file, "utf8")}` });
  }
  const scripts = redis as unknown as Record<string, (...args: unknown[]) => Promise<unknown>>;
  return {
    redis,
    run: (name, keys, args) => safely(() => scripts[`${scriptName(name)}Buffer`]!(keys.length, ...keys, ...args)),
    safely,
  };
}

const scriptName = (name: string): string => `fabric_${name.replaceAll("-", "_")}`;

async function safely<T>(command: () => Promise<T>): Promise<T> {
  try {
    return await command();
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    // A reply is an answer: only OOM, LOADING and the like mean that the store cannot serve now.
    if (cause instanceof ReplyError && !/^(OOM|LOADING|READONLY|MISCONF|BUSY|MASTERDOWN|NOAUTH)/.test(message))
      throw cause;
    throw new FabricError("redis_unavailable", `Redis does not answer: ${message}`, undefined, { cause });
  }
}

/** A second connection for subscriptions, which come back by themselves after an outage. */
export function connectSubscriber(url: string, onError: (error: Error) => void): Subscriber {
  const redis = patientRedis(url, onError);
  const listeners = new Map<string, Set<(message: Buffer) => void>>();
  redis.on("messageBuffer", (channel: Buffer, message: Buffer) => {
    for (const listener of listeners.get(channel.toString()) ?? []) listener(message);
  });
  return {
    async on(channel, listener) {
      const known = listeners.get(channel);
      if (known) known.add(listener);
      else {
        listeners.set(channel, new Set([listener]));
        await redis.subscribe(channel);
      }
      return () => {
        const left = listeners.get(channel);
        left?.delete(listener);
        if (left?.size === 0) {
          listeners.delete(channel);
          redis.unsubscribe(channel).catch(onError);
        }
      };
    },
    close: () => redis.disconnect(),
  };
}

export interface Subscriber {
  on(channel: string, listener: (message: Buffer) => void): Promise<() => void>;
  close(): void;
}
