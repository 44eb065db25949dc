/** kill -9 at awkward points: every accepted call ends in exactly one terminal state with one result. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { run, startFabric, type TestFabric } from "../support/fabric.ts";
import { until } from "../support/redis.ts";

let fabric: TestFabric;
beforeAll(async () => {
  fabric = await startFabric({ engine: "process", env: { FABRIC_LEASE_MS: "5000" } });
  await fabric.json("deploy", "test/apps/probe.py");
  await fabric.call("nap", { seconds: 0 });
});
afterAll(() => fabric?.close());

/** Sends `count` calls one after another, each until it is accepted, while `fault` happens; answers their ids. */
async function accepted(count: number, fault: () => Promise<void>, at: number): Promise<string[]> {
  const ids: string[] = [];
  let faulting: Promise<void> | undefined;
  for (let i = 0; i < count; i++) {
    if (i === at) faulting = fault();
    ids.push(await until(() => fabric.spawn("add", { a: i }).catch(() => undefined), 30_000, "a call is accepted"));
  }
  await faulting;
  return ids;
}

async function allEndOnce(ids: string[]): Promise<void> {
  for (const id of ids) {
    const record = await fabric.ended(id);
    expect(record).toMatchObject({ state: "succeeded" });
    const result = await (await fabric.fetch(`/v1/invocations/${id}/result`)).json();
    expect(result).toMatchObject({ id, state: "succeeded" });
  }
}

test("gateway killed under load", async () => {
  const ids = await accepted(200, () => fabric.kill9("gateway"), 50);
  await allEndOnce(ids);
});

test("runner killed under load", async () => {
  const ids = await accepted(200, () => fabric.kill9("runner"), 50);
  await allEndOnce(ids);
});

test("Redis killed under load loses nothing it acknowledged", async () => {
  const ids = await accepted(200, () => fabric.kill9("redis"), 50);
  await allEndOnce(ids);
});

test("S3 endpoint killed while large results are published", async () => {
  const ids = await Promise.all([1, 2, 3, 4].map(() => fabric.spawn("big", { size: 3_000_000 })));
  await fabric.kill9("s3");
  for (const id of ids) {
    expect(await fabric.ended(id)).toMatchObject({ state: "succeeded" });
    const { result } = (await (await fabric.fetch(`/v1/invocations/${id}/result`)).json()) as any;
    expect(result).toHaveLength(3_000_000);
  }
});

test("a restarted runner adopts the container that lives: one attempt", async () => {
  const id = await fabric.spawn("nap", { seconds: 6 });
  const { container } = await until(
    async () => {
      const record = await fabric.record(id);
      return record.state === "running" && record.container ? record : undefined;
    },
    20_000,
    "it runs",
  );
  await fabric.kill9("runner");
  expect(await fabric.ended(id)).toMatchObject({ state: "succeeded", attempts: 1, container });
});

test("a runner restarted in mid-training goes on in the series that was chosen, each step once", async () => {
  const id = await fabric.spawn("trains", { epochs: 10, pause: 0.4, series: "restarted" });
  const saved = async () => ((await (await fabric.fetch("/v1/checkpoints/restarted")).json()) as any).checkpoints ?? [];
  await until(async () => (await saved()).length >= 2, 30_000, "two checkpoints are committed");
  await fabric.kill9("runner");
  expect(await fabric.ended(id)).toMatchObject({ state: "succeeded", attempts: 1 });
  expect((await saved()).map((one: any) => [one.step, one.metrics.epoch])).toEqual(
    Array.from({ length: 10 }, (_, epoch) => [epoch, epoch]),
  );
});

test("a runner that is gone for longer than its lease is fenced: the call runs again, one result", async () => {
  const id = await fabric.spawn("nap", { seconds: 12 });
  await until(async () => (await fabric.record(id)).state === "running", 20_000, "it runs");
  const runner = await fabric.pid("runner");
  process.kill(runner, "SIGSTOP");
  await until(async () => (await fabric.record(id)).generation === 2, 30_000, "its lease ends");
  process.kill(runner, "SIGCONT");
  expect(await fabric.ended(id)).toMatchObject({ state: "succeeded", attempts: 2, platformFaults: 1 });
});

test("a Redis outage longer than a lease does not fence running work", async () => {
  const id = await fabric.spawn("nap", { seconds: 11 });
  await until(async () => (await fabric.record(id)).state === "running", 20_000, "it runs");
  const redis = await fabric.pid("redis");
  process.kill(redis, "SIGSTOP");
  const stopped = performance.now();
  await until(() => performance.now() - stopped > 7_500, 15_000, "a lease and a half passes");
  process.kill(redis, "SIGCONT");
  expect(await fabric.ended(id)).toMatchObject({ state: "succeeded", attempts: 1 });
});

test("a container killed in mid-training resumes from its last complete checkpoint", async () => {
  const id = await fabric.spawn("trains", { epochs: 6, pause: 0.3, series: "killed" });
  const saved = async () => ((await (await fabric.fetch("/v1/checkpoints/killed")).json()) as any).checkpoints ?? [];
  await until(async () => (await saved()).length >= 2, 30_000, "two checkpoints are committed");
  const { container } = await fabric.record(id);
  const { containers } = (await (await fabric.fetch("/v1/containers")).json()) as any;
  expect(containers.map((one: any) => one.container ?? one.id)).toContain(container);
  await killContainer(container);
  const record = await fabric.ended(id);
  expect(record).toMatchObject({ state: "succeeded", attempts: 2, platformFaults: 1 });
  const { result } = (await (await fabric.fetch(`/v1/invocations/${id}/result`)).json()) as any;
  expect(result.at(0)).toBeGreaterThanOrEqual(2);
  expect((await saved()).map((one: any) => one.metrics.epoch)).toEqual([0, 1, 2, 3, 4, 5]);
});

/** The shim of a container, found by what only it has in its environment. */
async function killContainer(id: string): Promise<void> {
  const found = await run(
    "sh",
    ["-c", 'grep -lz "FABRIC_CONTAINER=$1" /proc/[0-9]*/environ 2>/dev/null', "sh", id],
    process.env,
  );
  const pids = found.stdout
    .trim()
    .split("\n")
    .map((path) => Number(path.split("/")[2]));
  expect(pids.length).toBeGreaterThan(0);
  for (const pid of pids) process.kill(pid, "SIGKILL");
}

test("the fabric starts again on what is left after everything was killed at once", async () => {
  const ids = await Promise.all(Array.from({ length: 20 }, (_, i) => fabric.spawn("add", { a: i })));
  for (const child of ["gateway", "runner", "redis", "s3"] as const) process.kill(await fabric.pid(child), "SIGKILL");
  await allEndOnce(ids);
});
