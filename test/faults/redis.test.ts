/** Redis is killed, hangs, or runs out of memory: nothing it acknowledged is lost, nothing is done twice. */
import { Redis } from "ioredis";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type FaultFabric, LEASE_MS, passes, startFaultFabric } from "../support/fault-fabric.ts";
import { send } from "../support/load.ts";
import { startRedis, type TestRedis, until } from "../support/redis.ts";

let redis: TestRedis;
let fabric: FaultFabric;
beforeAll(async () => {
  redis = await startRedis({ appendonly: true });
  fabric = await startFaultFabric({ env: { FABRIC_REDIS_URL: redis.url }, warm: ["fast", "brief", "nap", "large"] });
});
afterAll(async () => {
  await fabric?.close();
  await redis?.close();
});

async function awayFor(ms: number): Promise<void> {
  const load = fabric.load(100);
  const running = await fabric.ask("nap", { token: `nap-${ms}`, seconds: ms / 1000 + 1, journal: fabric.journal });
  await fabric.running(running);
  await redis.kill();
  await passes(ms);
  await redis.start();
  await passes(500);
  await fabric.allHolds(load);
  expect(await fabric.ended(running)).toMatchObject({ state: "succeeded", attempts: 1, generation: 1 });
}

test("Redis killed for two seconds under 100 calls a second: all is done, each call in one attempt", () =>
  awayFor(2_000));

test("Redis killed for three leases under 100 calls a second: all is done, each call in one attempt", () =>
  awayFor(3 * LEASE_MS));

test("Redis that hangs for longer than a lease takes no running call from its runner", async () => {
  const load = fabric.load(50);
  const running = await fabric.ask("nap", { token: "hung", seconds: 4, journal: fabric.journal });
  await fabric.running(running);
  redis.signal("SIGSTOP");
  await passes(1.7 * LEASE_MS);
  redis.signal("SIGCONT");
  await fabric.allHolds(load);
  expect(await fabric.ended(running)).toMatchObject({ state: "succeeded", attempts: 1, generation: 1 });
});

/** Redis may use `share` of its present use in memory; the returned function gives it back what it had. */
async function limitMemory(share: number): Promise<() => Promise<void>> {
  const admin = new Redis(redis.url);
  const used = Number(/^used_memory:(\d+)/m.exec(await admin.info("memory"))![1]);
  await admin.config("SET", "maxmemory", Math.round(used / share));
  return async () => {
    await admin.config("SET", "maxmemory", "256mb");
    admin.disconnect();
  };
}

const refused = (token: string): Promise<string> =>
  until(
    async () => {
      const reply = await send(fabric, { fn: "fast", token, journal: fabric.journal });
      return "refused" in reply ? reply.refused : undefined;
    },
    10_000,
    "a call is refused",
  );

test.each([
  ["over 80 % of its memory", 0.9],
  ["out of memory", 1.2],
])("Redis %s: new calls are refused by a code, those that run end", async (_, share) => {
  const running = await fabric.ask("nap", { token: `full-${share}`, seconds: 2, journal: fabric.journal });
  await fabric.running(running);
  const giveBack = await limitMemory(share);
  try {
    expect(await refused(`refused-${share}`)).toMatch(/^(429 too_many_invocations|503 redis_unavailable)$/);
    expect(await fabric.ended(running, 10_000)).toMatchObject({ state: "succeeded", attempts: 1 });
  } finally {
    await giveBack();
  }
  await fabric.works();
});
