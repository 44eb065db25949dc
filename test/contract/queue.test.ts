/** The promises of Queue, against BullMQ on a real Redis. */
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { bullmqQueue } from "../../core/bullmq-queue.ts";
import { newId } from "../../core/ids.ts";
import type { Queue } from "../../core/queue.ts";
import { startRedis, type TestRedis, until } from "../support/redis.ts";
import { startTcpProxy } from "../support/tcp-proxy.ts";

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

test("entries that are behind come out after all others, in order, and count like them", async () => {
  const [first, second, plain, more] = [entry(), entry(), entry(), entry()];
  await queue.add(KEY, { ...first, behind: true });
  await queue.add(KEY, plain, { ...second, behind: true });
  expect(await queue.depth(KEY)).toBe(3);
  expect(await Promise.all([plain, first, second, more].map((one) => queue.ahead(KEY, one)))).toEqual([
    ...[0, 1, 2, undefined],
  ]);
  expect(await queue.has(KEY, first)).toBe(true);
  const reader = await queue.open(KEY, "run_1");
  expect(await reader.next()).toEqual(plain);
  expect(await reader.next()).toEqual(first);
  await queue.add(KEY, more);
  await reader.putBack(first);
  expect(await reader.next()).toEqual(more);
  expect(await reader.next()).toEqual(first);
  await Promise.all([plain, first, more].map((one) => reader.acknowledge(one)));
  expect(await queue.isEmpty(KEY)).toBe(false);
  expect(await reader.next()).toEqual(second);
  await reader.acknowledge(second);
  expect(await queue.isEmpty(KEY)).toBe(true);
  await reader.close();
});

test("a queue whose connection breaks at its very first use works afterwards", async () => {
  const proxy = await startTcpProxy(redis.port, { resp: true });
  const url = `redis://127.0.0.1:${proxy.port}`;
  const proxied = bullmqQueue({ url, prefix: `t${prefix++}`, lockMs: 1_000 });
  const answers = (asked: Promise<unknown>): Promise<boolean> =>
    asked.then(
      () => true,
      () => false,
    );
  await until(() => answers(proxied.depth(KEY)), 5_000, "connected");
  const isInfo = ([name]: Buffer[]) => name?.toString().toLowerCase() === "info";
  const cut = proxy.afterCommand(isInfo, "cut");
  const other = "app/first_used_now" as const;
  await expect(proxied.add(other, entry())).rejects.toMatchObject({ code: "redis_unavailable" });
  await cut;
  proxy.heal();
  await until(() => answers(proxied.add(other, entry())), 5_000, "an entry is added");
  await proxied.close();
  await proxy.close();
});

test("several added at once come out in their order, those already there once", async () => {
  const entries = [entry(), entry(), entry()];
  await queue.add(KEY, entries[0]!);
  await queue.add(KEY, ...entries);
  const reader = await queue.open(KEY, "run_1");
  for (const each of entries) expect(await reader.next()).toEqual(each);
  expect(await reader.next()).toBeUndefined();
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
