/** A gateway that dies, and answers of Redis that get lost on the way to it: what was accepted is done, once. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { type FaultFabric, LEASE_MS, passes, startFaultFabric } from "../support/fault-fabric.ts";
import { send } from "../support/load.ts";
import { startRedis, type TestRedis } from "../support/redis.ts";
import { startTcpProxy, type TcpProxy } from "../support/tcp-proxy.ts";

let redis: TestRedis;
let proxy: TcpProxy;
let fabric: FaultFabric;
beforeAll(async () => {
  redis = await startRedis({ appendonly: true });
  proxy = await startTcpProxy(redis.port, { resp: true });
  fabric = await startFaultFabric({
    env: { FABRIC_REDIS_URL: `redis://127.0.0.1:${proxy.port}` },
    warm: ["fast", "brief"],
  });
});
afterAll(async () => {
  await fabric?.close();
  await proxy?.close();
  await redis?.close();
});

/** The command that stores a call carries its arguments. */
const carries = (token: string) => (command: Buffer[]) => command.some((arg) => arg.includes(`"${token}"`));

test("a call is done although its gateway died right after storing it, and is found by its idempotency key", async () => {
  const token = "died-between";
  const stored = proxy.afterCommand(carries(token), "hold");
  const reply = send(fabric, { fn: "fast", token, key: `ask-${token}`, journal: fabric.journal });
  await stored;
  await fabric.kill9("gateway");
  expect(await reply).toHaveProperty("refused");
  const id = await fabric.ask("fast", { token, journal: fabric.journal });
  expect(await fabric.ended(id)).toMatchObject({ state: "succeeded", attempts: 1 });
  expect(await fabric.executions(token)).toBe(1);
});

test("a call whose acceptance got lost on the way to the gateway is not accepted twice under its key", async () => {
  const token = "lost-reply";
  const stored = proxy.afterCommand(carries(token), "cut");
  const reply = await send(fabric, { fn: "fast", token, key: `ask-${token}`, journal: fabric.journal });
  await stored;
  expect(reply).toEqual({ refused: "503 redis_unavailable" });
  const id = await fabric.ask("fast", { token, journal: fabric.journal });
  expect(await fabric.ended(id)).toMatchObject({ state: "succeeded", attempts: 1 });
  expect(await fabric.executions(token)).toBe(1);
});

test("replies of Redis that get lost under load lose no call and repeat none", async () => {
  const load = fabric.load(40);
  // Each command that names an invocation is as likely: stores, adds, claims, finishes.
  for (let lost = 0; lost < 12; lost++) {
    let skip = 5 + 7 * lost;
    await proxy.afterCommand((command) => command.some((arg) => arg.includes("inv_")) && skip-- === 0, "cut");
  }
  await fabric.allHolds(load);
});

test("a gateway killed under 50 calls a second loses nothing it accepted", async () => {
  const load = fabric.load(50);
  await passes(1_000);
  await fabric.kill9("gateway");
  await passes(500);
  await fabric.kill9("gateway");
  await passes(500);
  await fabric.allHolds(load);
  expect(load.accepted.length).toBeGreaterThan(50);
});

test("a connection to Redis that is cut in the middle of a command, or slow, loses nothing", async () => {
  const load = fabric.load(40);
  for (const [bytes, direction] of [
    [10_000, "up"],
    [5_000, "down"],
    [33_333, "up"],
  ] as const) {
    proxy.cutAfter(bytes, direction);
    await passes(400);
  }
  proxy.delay(100);
  await passes(LEASE_MS);
  proxy.heal();
  await fabric.allHolds(load);
});
