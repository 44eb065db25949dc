/** Quotas of tokens: the bucket's arithmetic, and what calls and maps by such tokens are answered, over real Redis. */
import { readFileSync } from "node:fs";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it, test } from "vitest";
import { createToken } from "../../gateway/tokens.ts";
import { functionSpec, startGateway, type TestGateway } from "../support/gateway.ts";
import { until } from "../support/redis.ts";
import { connectState } from "../support/state.ts";

let gateway: TestGateway;
let redis: Redis;
beforeAll(async () => {
  gateway = await startGateway();
  redis = new Redis(gateway.redisUrl);
  await gateway.deploy("app", [functionSpec("f"), functionSpec("served"), functionSpec("map")]);
});
afterAll(async () => {
  redis?.disconnect();
  await gateway?.close();
});

describe("the bucket", () => {
  const lib = readFileSync(new URL("../../core/redis/lua/lib/2-quotas.lua", import.meta.url), "utf8");
  const draw = async (...[full, now, each, burst, wanted]: number[]) =>
    redis.eval(
      `local beside, now_ms\n${lib}\nlocal full, ms = draw(unpack(cjson.decode(ARGV[1]))) return {full or -1, ms or -1}`,
      0,
      JSON.stringify([full, now, each, burst, wanted]),
    );
  // full, now, ms for each, burst, wanted: full afterwards, ms to wait
  it.each([
    ["is full at first", [0, 1_000, 10, 5, 5], [1_050, -1]],
    ["holds no more than its burst", [0, 1_000, 10, 5, 6], [-1, 10]],
    ["gives what is left", [1_030, 1_000, 10, 5, 2], [1_050, -1]],
    ["tells when there is enough", [1_030, 1_000, 10, 5, 4], [-1, 20]],
    ["fills steadily", [1_050, 1_025, 10, 5, 2], [1_070, -1]],
    ["gives nothing early", [1_050, 1_001, 10, 5, 1], [-1, 9]],
    ["waits a millisecond at least", [1_001, 1_000, 1, 1, 1], [-1, 1]],
    ["knows slow rates", [0, 0, 86_400_000, 1, 1], [86_400_000, -1]],
  ])("%s", async (_name, given, wanted) => expect(await draw(...given)).toEqual(wanted));
});

type Made = { id: string; token: string };
const make = (quota: object): Promise<Made> => createToken(gateway.deps, { name: "limited", ...quota });
const as = ({ token }: Made, path: string, init: RequestInit = {}) =>
  gateway.request(path, {
    method: "POST",
    body: "[]",
    ...init,
    headers: { authorization: `Bearer ${token}`, ...init.headers },
  });
const spawn = (made: Made, headers: Record<string, string> = {}, fn = "f") =>
  as(made, `/f/app/${fn}`, { headers: { prefer: "respond-async", ...headers } });
const open = async ({ id }: Made): Promise<number> => Number((await redis.get(`t:quota:open:${id}`)) ?? 0);

test("calls beyond the rate are refused, and told when there is room", async () => {
  const made = await make({ rate: "3/h" });
  const statuses: number[] = [];
  for (let i = 0; i < 3; i++) statuses.push((await spawn(made)).status);
  expect(statuses).toEqual([202, 202, 202]);
  const refused = await spawn(made);
  expect(refused.status).toBe(429);
  const seconds = Number(refused.headers.get("retry-after"));
  expect(seconds).toBeGreaterThan(600);
  expect(seconds).toBeLessThanOrEqual(1200);
  expect((await refused.json()) as object).toMatchObject({
    error: { code: "quota_exceeded", retryable: true, details: { limit: "rate", rate: "3/h", burst: 3 } },
  });
  expect(await redis.pttl(`t:quota:rate:${made.id}`)).toBeGreaterThan(0);
  expect((await spawn(await make({ rate: "3/h" }))).status).toBe(202);
});

test("a burst, and the rate behind it", async () => {
  const made = await make({ rate: "20/s", burst: 1 });
  expect((await spawn(made)).status).toBe(202);
  const second = await until(
    async () => {
      const reply = await spawn(made);
      return reply.status === 202 ? reply : undefined;
    },
    20_000,
    "there is room again",
  );
  expect(second.status).toBe(202);
});

test("several gateways share a bucket and the count", async () => {
  const made = await make({ rate: "5/h", maxQueued: 100 });
  const other = await connectState({ url: gateway.redisUrl, prefix: "t", recordTtlSeconds: 3600 });
  try {
    const call = (id: string) => ({
      ...{ id, app: "app", fn: "f", version: "1", encoding: "json" as const, input: Buffer.from("[]") },
      ...{ acceptPickle: false, timeoutMs: 1_000, retries: 0, quota: { token: made.id, rate: "5/h", maxQueued: 100 } },
    });
    for (const n of [1, 2, 3]) await other.invocations.accept(call(`inv_other${n}`));
    expect([(await spawn(made)).status, (await spawn(made)).status, (await spawn(made)).status]).toEqual([
      202, 202, 429,
    ]);
    expect(await open(made)).toBe(5);
  } finally {
    await other.close();
  }
});

test("a repeated call is answered with the first one, and costs nothing", async () => {
  const made = await make({ rate: "2/h", maxQueued: 2 });
  const key = { "idempotency-key": "once" };
  const first = (await (await spawn(made, key)).json()) as { id: string };
  for (let i = 0; i < 5; i++) expect(((await (await spawn(made, key)).json()) as { id: string }).id).toBe(first.id);
  expect((await spawn(made)).status).toBe(202);
  expect((await spawn(made)).status).toBe(429);
  expect((await spawn(made, key)).status).toBe(202);
  expect(await open(made)).toBe(2);
});

test("what has not ended counts until it ends, however it does", async () => {
  const made = await make({ maxQueued: 2 });
  const ids: string[] = [];
  for (let i = 0; i < 2; i++) ids.push(((await (await spawn(made, {}, "served")).json()) as { id: string }).id);
  const refused = await spawn(made, {}, "served");
  expect(refused.status).toBe(429);
  expect(Number(refused.headers.get("retry-after"))).toBeGreaterThan(0);
  expect((await refused.json()) as object).toMatchObject({
    error: { code: "quota_exceeded", details: { limit: "max_queued", open: 2, maxQueued: 2 } },
  });
  await gateway.deps.state.invocations.cancel(ids[0]!);
  expect(await open(made)).toBe(1);
  const stop = await gateway.serve("app/served", () => ({
    state: "succeeded",
    result: { encoding: "json", size: 4, inline: Buffer.from("null") },
  }));
  await until(async () => ((await open(made)) === 0 ? true : undefined), 20_000, "all have ended");
  expect(await redis.exists(`t:quota:open:${made.id}`)).toBe(0);
  await stop();
});

test("a refused call leaves nothing behind, large inputs included", async () => {
  const made = await make({ rate: "1/d" });
  expect((await spawn(made)).status).toBe(202);
  const records = async () => (await redis.keys("t:inv:*")).length;
  const [kept, objects] = [await records(), await count("invocations/")];
  const large = JSON.stringify(["x".repeat(20_000)]);
  expect((await as(made, "/f/app/f", { body: large, headers: { prefer: "respond-async" } })).status).toBe(429);
  expect([await records(), await count("invocations/")]).toEqual([kept, objects]);
});

async function count(prefix: string): Promise<number> {
  let found = 0;
  for await (const _entry of gateway.deps.objects.list(prefix)) found++;
  return found;
}

test("inputs of a map count, in parts that fit; the sender is told to come back and goes on with the same map", async () => {
  const made = await make({ rate: "999999/s", maxQueued: 4 });
  const lines = (n: number) => Array.from({ length: n }, (_, i) => `[${i}]\n`).join("");
  const begin = await as(made, "/v1/apps/app/functions/map/map?more=true", {
    body: lines(4),
    headers: { prefer: "respond-async", "idempotency-key": "m" },
  });
  const { id, inputs } = (await begin.json()) as { id: string; inputs: number };
  expect([begin.status, inputs, await open(made)]).toEqual([202, 4, 4]);
  const append = { first: 4, count: 1, body: Buffer.from("[4]"), quota: { token: made.id, maxQueued: 4 } };
  await expect(gateway.deps.state.maps.append(id, append)).rejects.toMatchObject({ code: "quota_exceeded" });
  expect((await gateway.deps.state.invocations.get(id))!.map!.total).toBe(4);
  expect((await spawn(made)).status).toBe(429);
  await gateway.deps.state.invocations.cancel(id);
  expect(await open(made)).toBe(0);
});

test("a page larger than the burst goes in as there is room", async () => {
  const made = await make({ rate: "500/s", burst: 2 });
  const body = Array.from({ length: 9 }, (_, i) => `[${i}]\n`).join("");
  const reply = await as(made, "/v1/apps/app/functions/map/map", { body, headers: { prefer: "respond-async" } });
  expect([reply.status, ((await reply.json()) as { inputs: number }).inputs]).toEqual([202, 9]);
});

test("tokens are listed with their quotas; those with one make and revoke none", async () => {
  const asked = { name: "listed", rate: "7/m", burst: 3, maxQueued: 9 };
  const made = await gateway.request("/v1/tokens", { method: "POST", body: JSON.stringify(asked) });
  expect(made.status).toBe(201);
  const told = (await made.json()) as Made;
  expect(told).toMatchObject({ rate: "7/m", burst: 3, maxQueued: 9 });
  const { tokens } = (await (await gateway.request("/v1/tokens")).json()) as { tokens: object[] };
  expect(tokens).toContainEqual(expect.objectContaining({ id: told.id, ...asked }));
  const another = await as(told, "/v1/tokens", { body: JSON.stringify({ name: "free" }) });
  expect([another.status, ((await another.json()) as any).error.code]).toEqual([403, "forbidden"]);
  expect((await as(told, `/v1/tokens/${told.id}`, { method: "DELETE", body: null })).status).toBe(403);
});

test.each([
  [{ rate: "fast" }, "rate"],
  [{ rate: "0/s" }, "rate"],
  [{ burst: 3 }, "burst"],
  [{ rate: "1/s", burst: 0 }, "burst"],
  [{ maxQueued: 1.5 }, "maxQueued"],
])("%j is refused, naming the field", async (quota, field) => {
  const reply = await gateway.request("/v1/tokens", { method: "POST", body: JSON.stringify({ name: "x", ...quota }) });
  expect(reply.status).toBe(400);
  expect(((await reply.json()) as any).error.message).toMatch(new RegExp(`^${field}: `));
});
