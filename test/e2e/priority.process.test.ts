/** Head starts on a whole fabric: queued calls of a busy function, by HTTP and the command line. */
import { randomUUID } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startFabric, type TestFabric } from "../support/fabric.ts";
import { until } from "../support/redis.ts";

let fabric: TestFabric;
beforeAll(async () => {
  fabric = await startFabric({ engine: "process" });
  await fabric.json("deploy", "test/apps/priorities.py");
});
afterAll(() => fabric?.close());

async function spawn(input: { seconds?: number; gate?: string }, headers: Record<string, string> = {}) {
  const reply = await fabric.fetch("/v1/apps/priorities/functions/one_by_one/invocations", {
    method: "POST",
    body: JSON.stringify(input),
    headers: { "content-type": "application/json", prefer: "respond-async", ...headers },
  });
  return { status: reply.status, body: (await reply.json()) as any };
}

/** Keeps the only slot busy until the returned function is called. */
async function occupy(): Promise<() => Promise<void>> {
  const gate = join(fabric.dataDir, `gate-${randomUUID()}`);
  const busy = (await spawn({ gate })).body.id;
  await until(async () => (await fabric.record(busy)).startedAt, 20_000, "the only slot is busy");
  return () => writeFile(gate, "");
}

test("calls with a head start run before those that were queued earlier, and those all run", async () => {
  const open = await occupy();
  const plain: string[] = [];
  for (let i = 0; i < 20; i++) plain.push((await spawn({ seconds: 0.02 })).body.id);
  const http = (await spawn({ seconds: 0.02 }, { "fabric-priority": "60" })).body.id;
  const args = ["--arg", "seconds=0.02", "--priority", "300", "--async"];
  const invoked = await fabric.cli("invoke", "priorities/one_by_one", ...args);
  const cli = invoked.stdout.trim();
  await open();
  const ended = await Promise.all([...plain, http, cli].map((id) => fabric.ended(id)));
  expect(ended.map(({ state }) => state)).toEqual(ended.map(() => "succeeded"));
  const started = ended.map(({ startedAt }) => startedAt);
  // What the runner had in hand when they came may run before them.
  expect(started.filter((at) => at < started[20]!).length).toBeLessThanOrEqual(4);
  expect(started.filter((at) => at < started[21]!).length).toBeLessThanOrEqual(4);
});

test("calls with a negative one run at once where nothing waits, else after those that came later", async () => {
  const alone = (await spawn({}, { "fabric-priority": "-600" })).body.id;
  expect(await fabric.ended(alone)).toMatchObject({ state: "succeeded" });
  const open = await occupy();
  const args = ["--arg", "seconds=0.02", "--priority", "-600", "--async"];
  const behind = (await fabric.cli("invoke", "priorities/one_by_one", ...args)).stdout.trim();
  const plain: string[] = [];
  for (let i = 0; i < 10; i++) plain.push((await spawn({ seconds: 0.02 })).body.id);
  await open();
  const ended = await Promise.all([...plain, behind].map((id) => fabric.ended(id)));
  expect(ended.map(({ state }) => state)).toEqual(ended.map(() => "succeeded"));
  const started = ended.map(({ startedAt }) => startedAt);
  // What the runner had in hand when they came may run after it.
  expect(started.filter((at) => at > started[10]!).length).toBeLessThanOrEqual(4);
});

test("a priority that is none is refused", async () => {
  for (const given of ["-86401", "86401", "high"]) {
    const { status, body } = await spawn({}, { "fabric-priority": given });
    expect(status).toBe(400);
    expect(body.error.message).toContain(`fabric-priority is "${given}"; it must be seconds, -86400 to 86400 (a day)`);
  }
});
