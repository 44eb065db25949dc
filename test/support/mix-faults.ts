/** The faults of the random mix: each begins, and the function it answers heals it. */
import { Redis } from "ioredis";
import { LEASE_MS } from "./fault-fabric.ts";
import type { Stage } from "./mix.ts";
import { until } from "./redis.ts";
import { killIfThere, processesWith } from "./runner.ts";

export interface Fault {
  name: string;
  /** May take an attempt from its runner or container, which counts against the budget of 3. */
  charges: boolean;
  longestMs: number;
  act(): Promise<() => Promise<void> | void>;
}

const healed = (): void => {};

export function mixFaults(stage: Stage, random: () => number): Fault[] {
  return [...processFaults(stage, random), ...redisFaults(stage, random), ...s3Faults(stage)];
}

function processFaults({ fabric, other }: Stage, random: () => number): Fault[] {
  const killed = async (child: "gateway" | "runner") => {
    // The last one may have been killed a moment ago.
    const pid = await until(() => fabric.pid(child).catch(() => undefined), 30_000, `a ${child} runs`);
    killIfThere(pid);
    return healed;
  };
  return [
    { name: "gateway killed", charges: false, longestMs: 1_000, act: () => killed("gateway") },
    { name: "runner killed, and back at once", charges: true, longestMs: 2_000, act: () => killed("runner") },
    {
      name: "other runner killed",
      charges: true,
      longestMs: 2 * LEASE_MS,
      async act() {
        await other.kill();
        return () => other.start();
      },
    },
    {
      name: "other runner stops as ordered, and starts again",
      charges: false,
      longestMs: 500,
      async act() {
        await other.stop();
        return () => other.start();
      },
    },
    {
      name: "other runner stands still",
      charges: true,
      longestMs: 2 * LEASE_MS,
      async act() {
        other.signal("SIGSTOP");
        return () => other.signal("SIGCONT");
      },
    },
    {
      name: "a container killed from outside",
      charges: true,
      longestMs: 500,
      async act() {
        const reply = await fabric.fetch("/v1/containers").catch(() => undefined);
        const { containers = [] } = reply?.ok ? ((await reply.json()) as any) : {};
        const one = containers[Math.floor(random() * containers.length)];
        for (const pid of one ? await processesWith(`FABRIC_CONTAINER=${one.container}`) : []) killIfThere(pid);
        return healed;
      },
    },
  ];
}

function redisFaults({ redis, redisProxy }: Stage, random: () => number): Fault[] {
  return [
    {
      name: "Redis killed",
      charges: false,
      longestMs: 2 * LEASE_MS,
      async act() {
        await redis.kill();
        return () => redis.start();
      },
    },
    {
      name: "Redis hangs",
      charges: false,
      longestMs: 1.5 * LEASE_MS,
      async act() {
        redis.signal("SIGSTOP");
        return () => redis.signal("SIGCONT");
      },
    },
    {
      name: "Redis slow",
      charges: false,
      longestMs: 2_000,
      async act() {
        redisProxy.delay(50 + random() * 200);
        return () => redisProxy.heal();
      },
    },
    {
      name: "a reply of Redis lost",
      charges: false,
      longestMs: 1_000,
      async act() {
        let skip = Math.floor(random() * 30);
        void redisProxy.afterCommand((command) => command.some((arg) => arg.includes("inv_")) && skip-- === 0, "cut");
        return () => redisProxy.heal();
      },
    },
    {
      name: "a connection to Redis cut",
      charges: false,
      longestMs: 1_000,
      async act() {
        redisProxy.cutAfter(Math.floor(random() * 50_000), random() < 0.5 ? "up" : "down");
        return () => redisProxy.heal();
      },
    },
    {
      name: "Redis over 80 % of its memory",
      charges: false,
      longestMs: 2_000,
      async act() {
        const admin = new Redis(redis.url);
        const used = Number(/^used_memory:(\d+)/m.exec(await admin.info("memory"))![1]);
        await admin.config("SET", "maxmemory", Math.round(used / 0.9));
        return async () => {
          await admin.config("SET", "maxmemory", "256mb");
          admin.disconnect();
        };
      },
    },
  ];
}

function s3Faults({ s3Proxy }: Stage): Fault[] {
  return [
    {
      name: "S3 down",
      charges: false,
      longestMs: 3_000,
      async act() {
        s3Proxy.drop();
        return () => s3Proxy.heal();
      },
    },
    {
      name: "S3 accepts and never answers",
      charges: false,
      longestMs: 3_000,
      async act() {
        s3Proxy.hang();
        return () => s3Proxy.heal();
      },
    },
  ];
}
