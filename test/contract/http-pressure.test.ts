/** Calls beyond what may wait are refused with 429 and a time to come back, and leave nothing behind. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { functionSpec, startGateway, type TestGateway } from "../support/gateway.ts";
import { until } from "../support/redis.ts";

let gateway: TestGateway;
beforeAll(async () => {
  gateway = await startGateway();
  await gateway.deploy("app", [functionSpec("small", { max_queued: 5 }), functionSpec("usual")]);
});
afterAll(() => gateway?.close());

const spawn = (fn: string, headers: Record<string, string> = {}) =>
  gateway.request(`/f/app/${fn}`, { method: "POST", body: "[]", headers: { prefer: "respond-async", ...headers } });

test("a function's max_queued", async () => {
  const statuses: number[] = [];
  for (let i = 1; i <= 5; i++) {
    statuses.push((await spawn("small")).status);
    // one on its way from the outbox into the queue may be counted twice, which refuses the next one early
    await until(
      async () => gateway.deps.outbox.waiting("app/small") === 0 && (await gateway.deps.queue.depth("app/small")) === i,
      20_000,
      `${i} wait in the queue`,
    );
  }
  const refused = await spawn("small");
  expect([...statuses, refused.status]).toEqual([202, 202, 202, 202, 202, 429]);
  expect(Number(refused.headers.get("retry-after"))).toBeGreaterThan(0);
  expect(await refused.json()).toMatchObject({
    error: { code: "queue_full", retryable: true, details: { waiting: 5, limit: 5 } },
  });
  expect((await spawn("usual")).status).toBe(202);
  expect(await gateway.deps.queue.depth("app/small")).toBe(5);
});
