/** Redis loses everything: what was deployed, who may call and what was trained is rebuilt from the bucket. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Redis } from "ioredis";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startFabric, type TestFabric } from "../support/fabric.ts";
import { until } from "../support/redis.ts";

let fabric: TestFabric;
beforeAll(async () => {
  fabric = await startFabric({ engine: "process", env: { FABRIC_LEASE_MS: "3000" } });
});
afterAll(() => fabric?.close());

async function flushAll(): Promise<void> {
  const { redisPassword, ports } = JSON.parse(await readFile(join(fabric.dataDir, "state.json"), "utf8"));
  const redis = new Redis({ port: ports.redis, password: redisPassword });
  try {
    await redis.flushall();
  } finally {
    redis.disconnect();
  }
}

const add = (token: string, a: number): Promise<Response> =>
  fabric.fetch("/f/probe/add", {
    method: "POST",
    body: JSON.stringify({ a }),
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
  });

test("apps, versions, tokens and checkpoints outlive a FLUSHALL, and calls work", async () => {
  await fabric.json("deploy", "test/apps/probe.py");
  const { token, id } = await fabric.json<{ token: string; id: string }>("token", "create", "a-colleague");
  expect(await (await add(token, 1)).json()).toBe(2);
  const trained = await fabric.spawn("trains", { epochs: 2, series: "kept" });
  expect(await fabric.ended(trained)).toMatchObject({ state: "succeeded" });

  expect((await fabric.cli("checkpoint", "tag", "kept:0", "production")).code).toBe(0);

  await flushAll();

  await until(async () => (await add(token, 41)).ok, 30_000, "the colleague's token is known and a call is answered");
  expect(await (await add(token, 41)).json()).toBe(42);
  expect((await fabric.cli("app", "list")).stdout).toContain("probe");
  expect((await fabric.cli("app", "versions", "probe")).stdout).toContain("1");
  expect((await fabric.cli("token", "list")).stdout).toContain(id);
  const kept = (await (await fabric.fetch("/v1/checkpoints/kept")).json()) as any;
  expect(kept.checkpoints.map((one: any) => one.metrics.epoch)).toEqual([0, 1]);
  expect(kept.tags).toMatchObject([{ name: "production", step: 0 }]);

  const again = await fabric.spawn("trains", { epochs: 3, series: "kept" });
  expect(await fabric.ended(again)).toMatchObject({ state: "succeeded" });
  const { result } = (await (await fabric.fetch(`/v1/invocations/${again}/result`)).json()) as any;
  expect(result).toEqual([2]);
});

test("a call that runs during a FLUSHALL does no harm to later ones", async () => {
  await fabric.spawn("nap", { seconds: 3 });
  await flushAll();
  await until(async () => (await fabric.call("add", { a: 1 })).body === 2, 30_000, "calls are answered");
  const deployed = await fabric.json<{ version: string }>("deploy", "test/apps/probe.py");
  expect(deployed.version).toBe("1");
  expect((await fabric.fetch("/v1/nodes").then((reply) => reply.json())) as any).toMatchObject({ nodes: [{}] });
});
