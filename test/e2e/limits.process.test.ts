/** Limits of functions as a user sees them: so many at a time of a key, so many in a second; and why a call waits. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { startFabric, type TestFabric } from "../support/fabric.ts";
import { until } from "../support/redis.ts";

let fabric: TestFabric;
beforeAll(async () => {
  fabric = await startFabric({ engine: "process", app: "limits" });
  await fabric.json("deploy", "test/apps/limits.py");
});
afterAll(() => fabric?.close());

async function spawn(fn: string, body: unknown, headers: Record<string, string> = {}): Promise<string> {
  const reply = await fabric.fetch(`/v1/apps/limits/functions/${fn}/invocations`, {
    method: "POST",
    body: JSON.stringify(body),
    headers: { "content-type": "application/json", prefer: "respond-async", ...headers },
  });
  expect(reply.status).toBe(202);
  return ((await reply.json()) as { id: string }).id;
}
const result = async (id: string) => (await fabric.fetch(`/v1/invocations/${id}/result`)).json() as Promise<any>;

/** The most that ran at the same time. */
function most(spans: [number, number][]): number {
  return Math.max(...spans.map(([began]) => spans.filter(([from, to]) => from <= began && began < to).length));
}

test("a key's calls run two at a time, whatever others do, and all end", async () => {
  const ids = await Promise.all(Array.from({ length: 14 }, () => spawn("keyed", {}, { "fabric-key": "user-1" })));
  const free = await Promise.all(Array.from({ length: 4 }, () => spawn("keyed", {})));
  for (const id of [...ids, ...free]) expect(await fabric.ended(id)).toMatchObject({ state: "succeeded" });
  const spans = await Promise.all(ids.map(async (id) => (await result(id)).result as [number, number]));
  expect(most(spans)).toBe(2);
  const total = Math.max(...spans.map(([, to]) => to)) - Math.min(...spans.map(([from]) => from));
  expect(total).toBeLessThan(7 * 0.1 + 1.5);
});

test("a parked call says for what it waits, and is cancelled like any other", async () => {
  const busy = await Promise.all([1, 2].map(() => spawn("keyed", { seconds: 30 }, { "fabric-key": "slow" })));
  for (const id of busy) await until(async () => (await fabric.record(id)).startedAt, 10_000, "it runs");
  const next = await spawn("keyed", { seconds: 0 }, { "fabric-key": "slow" });
  const reason = "waiting for key slow: 2 of 2 running";
  await until(async () => (await fabric.record(next)).reason === reason, 5_000, "it says why it waits");
  const extra = await spawn("keyed", {}, { "fabric-key": "slow" });
  await fabric.fetch(`/v1/invocations/${extra}/cancel`, { method: "POST" });
  expect(await fabric.ended(extra)).toMatchObject({ state: "cancelled" });
  await fabric.fetch(`/v1/invocations/${busy[0]}/cancel`, { method: "POST" });
  expect(await fabric.ended(next)).toMatchObject({ state: "succeeded" });
  await fabric.fetch(`/v1/invocations/${busy[1]}/cancel`, { method: "POST" });
});

test("a rate holds: a second's worth at once, then one after the other", async () => {
  const ids: string[] = [];
  for (let i = 0; i < 12; i++) ids.push(await spawn("rated", { n: i }));
  const records = await Promise.all(ids.map((id) => fabric.ended(id, 15_000)));
  const starts = records.map(({ startedAt }) => Date.parse(startedAt)).sort((a, b) => a - b);
  const claims = records.map(({ claimedAt }) => Date.parse(claimedAt)).sort((a, b) => a - b);
  // Eleven after the first: five tokens that were there, and one each 200 ms.
  expect(claims.at(-1)! - claims[0]!).toBeGreaterThanOrEqual(7 * 200 - 5);
  expect(starts.at(-1)! - claims[0]!).toBeLessThan(7 * 200 + 1_500);
  for (let i = 0; i + 10 < claims.length; i++) expect(claims[i + 10]! - claims[i]!).toBeGreaterThanOrEqual(1_000 - 5);
});

test("a map of a function with a rate ends, at that rate", async () => {
  const reply = await fabric.fetch("/v1/apps/limits/functions/rated/map", {
    method: "POST",
    body: Array.from({ length: 12 }, (_, n) => `{"n":${n}}\n`).join(""),
    headers: { "content-type": "application/x-ndjson" },
  });
  const lines = (await reply.text())
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  const times = lines.filter(({ result }) => result !== undefined).map(({ result }) => result as number);
  expect(times).toHaveLength(12);
  expect(Math.max(...times) - Math.min(...times)).toBeGreaterThanOrEqual(1.2);
});
