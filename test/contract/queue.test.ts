/** The promises of Queue, against BullMQ on a real Redis. */
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { bullmqQueue } from "../../core/bullmq-queue.ts";
import { newId } from "../../core/ids.ts";
import type { Queue } from "../../core/queue.ts";
import { startRedis, type TestRedis, until } from "../support/redis.ts";

let redis: TestRedis;
let queue: Queue;
let prefix = 0;
const KEY = "app/Model.predict" as const;

beforeAll(async () => {
  redis = await startRedis({ appendonly: true });
});
afterAll(() => redis.close());
beforeEach(async () => {
  queue = bullmqQueue({ url: redis.url, prefix: `t${prefix++}`, lockMs: 1_000 });
  await until(
    () =>
      queue.depth(KEY).then(
        () => true,
        () => false,
      ),
    5_000,
    "connected",
  );
  return () => queue.close();
});

const entry = (generation = 1) => ({ id: newId("inv"), generation });

test("entries come out once, in order, and are gone when acknowledged", async () => {
  const [first, second] = [entry(), entry()];
  await queue.add(KEY, first);
  await queue.add(KEY, second);
  await queue.add(KEY, second);
  expect(await queue.depth(KEY)).toBe(2);
  const reader = await queue.open(KEY, "run_1");
  expect(await reader.next()).toEqual(first);
  expect(await reader.next()).toEqual(second);
  expect(await reader.next()).toBeUndefined();
  expect(await queue.has(KEY, first)).toBe(true);
  expect(await queue.depth(KEY)).toBe(0);
  expect(await queue.isEmpty(KEY)).toBe(false);
  await reader.acknowledge(first);
  expect(await queue.has(KEY, first)).toBe(false);
  await reader.acknowledge(first);
  await reader.acknowledge(second);
  expect(await queue.isEmpty(KEY)).toBe(true);
  await reader.close();
});

test("an entry given back is the next one", async () => {
  const [first, second] = [entry(), entry()];
  await queue.add(KEY, first);
  await queue.add(KEY, second);
  const reader = await queue.open(KEY, "run_1");
  const taken = await reader.next();
  await reader.putBack(taken!);
  expect(await reader.next()).toEqual(first);
  await reader.close();
});

test("a reader that comes back under its name acknowledges what it had taken", async () => {
  const taken = entry();
  await queue.add(KEY, taken);
  const before = await queue.open(KEY, "run_1");
  expect(await before.next()).toEqual(taken);
  await before.close();
  const after = await queue.open(KEY, "run_1");
  await after.renew([taken]);
  await after.acknowledge(taken);
  expect(await queue.has(KEY, taken)).toBe(false);
  await after.close();
});

test("what a dead reader had taken goes back by itself and counts as lost until then", async () => {
  const taken = entry();
  await queue.add(KEY, taken);
  const dead = await queue.open(KEY, "run_1");
  await dead.next();
  await dead.close();
  await until(async () => !(await queue.has(KEY, taken)) || false, 5_000, "its lock ends");
  const alive = await queue.open(KEY, "run_2");
  const again = await until(() => alive.next(), 10_000, "the entry is back");
  expect(again).toEqual(taken);
  await alive.close();
});

test("a Redis that is away gives redis_unavailable in time; afterwards everything works again", async () => {
  const kept = entry();
  await queue.add(KEY, kept);
  const reader = await queue.open(KEY, "run_1");
  await redis.kill();
  await expect(queue.add(KEY, entry())).rejects.toMatchObject({ code: "redis_unavailable" });
  await redis.start();
  const late = entry();
  await until(
    () =>
      queue.add(KEY, late).then(
        () => true,
        () => false,
      ),
    5_000,
    "adds work",
  );
  expect(await until(() => reader.next(), 5_000, "reads work")).toEqual(kept);
  await reader.acknowledge(kept);
  await reader.close();
});
