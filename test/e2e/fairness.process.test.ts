/** A function without a container gets one while another's queue keeps the node full. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { startFabric, type TestFabric } from "../support/fabric.ts";
import { until } from "../support/redis.ts";

let fabric: TestFabric;
beforeAll(async () => {
  fabric = await startFabric({ engine: "process", app: "fairness", env: { FABRIC_NODE_CPU: "2" } });
  await fabric.json("deploy", "test/apps/fairness.py");
});
afterAll(() => fabric?.close());

const noisy: string[] = [];

test("a cold function is answered while another has the node and a queue", async () => {
  // Two minutes of work for two slots.
  for (let i = 0; i < 24; i++)
    noisy.push(...(await Promise.all(Array.from({ length: 25 }, () => fabric.spawn("sleeps", { ms: 400 })))));
  await until(
    async () => {
      const { containers } = (await (await fabric.fetch("/v1/containers")).json()) as any;
      return containers.length === 2 ? true : undefined;
    },
    30_000,
    "the node is full",
  );
  const { status, body } = await fabric.call("warm", {}, { prefer: "wait=60" });
  expect([status, body]).toEqual([200, 1]);
  expect((await fabric.record(noisy.at(-1)!)).state).toBe("queued");
  // The other one goes on beside it, and nothing of it was lost.
  const ended = await fabric.ended(noisy[10]!);
  expect(ended).toMatchObject({ state: "succeeded", attempts: 1 });
});

test("so is a gang that needs more than its share of the node, and all at once", async () => {
  const { status, body } = await fabric.call("wide", {}, { prefer: "wait=60" });
  expect([status, body]).toEqual([200, 3]);
  expect((await fabric.record(noisy.at(-1)!)).state).toBe("queued");
});
