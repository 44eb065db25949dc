/** A Redis connection with our scripts on it, and the one place where its errors become `redis_unavailable`. */
import { readdirSync, readFileSync } from "node:fs";
import type { Duplex } from "node:stream";
import { Redis, type RedisOptions, ReplyError } from "ioredis";
import { coalesceWrites } from "../coalesce.ts";
import { FabricError } from "../errors.ts";
import { ROOT } from "../root.ts";
import { pack } from "./pack.ts";
import { together } from "./together.ts";

const LUA = `${ROOT}/core/redis/lua/`;

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
  /** Runs `lua/<name>.lua`; replies come as Buffers. Steps that every call takes are sent together, those of one turn. */
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
  const shared = readdirSync(`${LUA}lib`).sort();
  const lib = shared.map((file) => readFileSync(`${LUA}lib/${file}`, "utf8")).join("\n");
  for (const file of readdirSync(LUA)) {
    if (!file.endsWith(".lua")) continue;
    const name = file.slice(0, -4);
    const script = readFileSync(LUA + file, "utf8");
    redis.defineCommand(scriptName(name), { lua: `${lib}\n${TOGETHER.has(name) ? forEach(script) : script}` });
  }
  const scripts = redis as unknown as Record<string, (...args: unknown[]) => Promise<unknown>>;
  const send: Commands["run"] = (name, keys, args) =>
    safely(() => scripts[`${scriptName(name)}Buffer`]!(keys.length, ...keys, ...args));
  const steps = new Map([...TOGETHER].map((name) => [name, sentTogether(name, send)]));
  return { redis, run: (name, keys, args) => steps.get(name)?.({ keys, args }) ?? send(name, keys, args), safely };
}

/** Steps that every call takes. */
const TOGETHER: ReadonlySet<string> = new Set(["accept", "claim", "finish"]);

interface Step {
  keys: string[];
  args: (string | number | Buffer)[];
}

/** One script call for several steps: each is a step of its own, and fails on its own. */
const sentTogether = (name: string, send: Commands["run"]) =>
  together(async (steps: Step[]): Promise<Promise<unknown>[]> => {
    const answers = (await send(name, [], [pack(steps.map(({ keys, args }) => [keys, args]))])) as unknown[];
    return answers.map((answer) =>
      safely(async () => {
        if (answer instanceof Error) throw answer;
        return answer;
      }),
    );
  });

/** Runs a script for each of several steps. ARGV: 1 their keys and arguments, packed. */
const forEach = (script: string): string => `
local function step(KEYS, ARGV)
${script}
end
local answers = {}
for i, one in ipairs(cmsgpack.unpack(ARGV[1])) do
  local well, answer = pcall(step, one[1], one[2])
  if not well then answer = redis.error_reply(type(answer) == 'table' and answer.err or answer) end
  answers[i] = answer or false
end
return answers
`;

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
