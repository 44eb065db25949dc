/** What ended invocations leave in the bucket goes when their records go, and nothing before. */
import { Redis } from "ioredis";
import { afterAll, beforeAll, expect, it } from "vitest";
import { manualClock } from "../../core/clock.ts";
import { idTimeMs, newId } from "../../core/ids.ts";
import { type NewInvocation, resultManifestKey } from "../../core/invocation.ts";
import { collectExpired, collectOrphans } from "../../gateway/collect.ts";
import { functionSpec, startGateway, type TestGateway } from "../support/gateway.ts";
import { until } from "../support/redis.ts";

const DAY = 86_400_000;
let gateway: TestGateway;
beforeAll(async () => {
  gateway = await startGateway();
});
afterAll(() => gateway.close());

const call = (over: Partial<NewInvocation> = {}): NewInvocation => ({
  ...{
    id: newId("inv"),
    app: "a",
    fn: "f",
    version: "1",
    encoding: "json",
    acceptPickle: false,
    timeoutMs: 1,
    retries: 0,
  },
  ...over,
});
const keys = async (id: string): Promise<string[]> => {
  const found: string[] = [];
  for await (const entry of gateway.deps.objects.list(`invocations/${id}/`))
    if (entry.kind === "object") found.push(entry.key.split("/").slice(2).join("/"));
  return found;
};
/** With an input and a result of an attempt in the bucket. */
async function ended(over: Partial<NewInvocation>): Promise<string> {
  const { state, objects } = gateway.deps;
  const { id } = await state.invocations.accept(call(over));
  await objects.put(`invocations/${id}/input`, "i");
  await objects.put(`invocations/${id}/g1/result`, "r");
  const attempt = { id, generation: 1 };
  await state.invocations.claim(attempt, { runner: "r", node: "n", leaseMs: 10_000 });
  const result = { encoding: "json", size: 1, key: `invocations/${id}/g1/result` } as const;
  await state.invocations.finish(attempt, { state: "succeeded", result }, {});
  return id;
}
const collectAll = (): Promise<number> => collectExpired({ ...gateway.deps, ttlSeconds: 3600 });

it("keeps everything while its record is there, and deletes all of it afterwards", async () => {
  const brief = await ended({ ttlSeconds: 1 });
  const cancelled = call({ ttlSeconds: 1 });
  await gateway.deps.state.invocations.accept(cancelled);
  await gateway.deps.objects.put(`invocations/${cancelled.id}/input`, "i");
  await gateway.deps.state.invocations.cancel(cancelled.id);
  const usual = await ended({});
  expect(await collectAll()).toBe(0);
  expect(await keys(brief)).toEqual(["g1/result", "input"]);

  const deleted: number[] = [];
  const deletedTwo = async (): Promise<boolean> => {
    deleted.push(await collectAll());
    return deleted.reduce((sum, count) => sum + count) === 2;
  };
  await until(deletedTwo, 10_000, "two invocations' objects are deleted");
  expect(await gateway.deps.state.invocations.get(brief)).toBeUndefined();
  expect(await keys(brief)).toEqual([]);
  expect(await keys(cancelled.id)).toEqual([]);
  expect(await keys(usual)).toEqual(["g1/result", "input"]);
});

it("a record with everything inside costs the collector nothing", async () => {
  const { invocations, expired } = gateway.deps.state;
  const { id } = await invocations.accept(call({ input: Buffer.from("{}"), ttlSeconds: 1 }));
  await invocations.cancel(id);
  await until(async () => (await invocations.get(id)) === undefined, 5_000, "the record expires");
  expect(await expired.take(1, 10)).toEqual([]);
});

it("is for one collector at a time, and for another one when that dies", async () => {
  const { expired } = gateway.deps.state;
  const id = await ended({ ttlSeconds: 1 });
  const [first] = await until(
    async () => {
      const taken = await Promise.all([1, 2, 3].map(() => expired.take(300, 10)));
      return taken.flat().length > 0 ? [taken.flat()] : undefined;
    },
    5_000,
    "it expires",
  );
  expect(first).toEqual([id]);
  await until(async () => (await collectAll()) === 1, 5_000, "the lease ends");
  expect(await keys(id)).toEqual([]);
});

it("finds what has no record when it is old enough, a page at a time", async () => {
  const { objects } = gateway.deps;
  const now = Date.now();
  const clock = manualClock(now);
  const deps = { ...gateway.deps, clock, ttlSeconds: 3 * 86_400 };
  const made = (days: number): string => newId("inv", now - days * DAY);
  const [old, older, young] = [made(4), made(5), made(2)];
  for (const id of [old, older, young]) await objects.put(`invocations/${id}/g1/result`, "r");
  const kept = made(20);
  await objects.put(resultManifestKey(kept), JSON.stringify({ ttlSeconds: 30 * 86_400 }));
  const live = made(20);
  await gateway.deps.state.invocations.accept(call({ id: live }));
  await objects.put(`invocations/${live}/input`, "i");
  await objects.put("invocations/not-ours/x", "x");

  const first = await collectOrphans(deps, { most: 2 });
  expect(first).toEqual({ deleted: 0, next: `invocations/${live < kept ? kept : live}/` });
  expect(await collectOrphans(deps, { after: first.next })).toEqual({ deleted: 2, next: undefined });
  expect(await keys(old)).toEqual([]);
  expect(await keys(older)).toEqual([]);
  for (const id of [young, kept, live, "not-ours"]) expect(await keys(id)).toHaveLength(1);
  clock.advance(31 * DAY);
  expect((await collectOrphans(deps)).deleted).toBe(2);
  expect(await keys(live)).toHaveLength(1);
});

it("deletes nothing for the reason that Redis has just lost its records", async () => {
  const id = await ended({});
  const redis = new Redis(gateway.redisUrl);
  await redis.flushall();
  redis.disconnect();
  expect(await collectAll()).toBe(0);
  expect((await collectOrphans({ ...gateway.deps, ttlSeconds: 60 })).deleted).toBeLessThan(5);
  expect(await keys(id)).toHaveLength(2);
});

it("takes result_ttl from the function's options", async () => {
  await gateway.deploy("ttl", [functionSpec("f", { result_ttl: 60 })]);
  const reply = await gateway.request("/v1/apps/ttl/functions/f/invocations", {
    method: "POST",
    headers: { prefer: "respond-async" },
  });
  const { id } = (await reply.json()) as { id: string };
  await gateway.request(`/v1/invocations/${id}/cancel`, { method: "POST" });
  const redis = new Redis(gateway.redisUrl);
  expect(await redis.ttl(`t:inv:${id}`)).toBeGreaterThan(50);
  expect(await redis.ttl(`t:inv:${id}`)).toBeLessThanOrEqual(60);
  redis.disconnect();
  expect((await gateway.deploy("ttl", [functionSpec("f", { result_ttl: 9 })])).error.code).toBe("bad_request");
});

it("ids tell when they were made", () => {
  expect(idTimeMs(newId("inv", 1_764_000_000_123))).toBe(1_764_000_000_123);
});
