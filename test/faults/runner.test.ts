/** Runners that die, stop or come back late while another one is there: one result for each call, and nobody runs for ever. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { type FaultFabric, passes, startFaultFabric } from "../support/fault-fabric.ts";
import { until } from "../support/redis.ts";
import { type ExtraRunner, processesWith, startExtraRunner } from "../support/runner.ts";
import { startTestS3, TEST_CREDENTIALS, type TestS3 } from "../support/s3.ts";
import { startTcpProxy, type TcpProxy } from "../support/tcp-proxy.ts";

/** Longer than a runner takes to start on a busy machine. */
const LEASE_MS = 6_000;

let s3: TestS3;
/** Between the bucket and each of the two nodes. */
let proxy: TcpProxy;
let otherProxy: TcpProxy;
let fabric: FaultFabric;
let other: ExtraRunner;
beforeAll(async () => {
  s3 = await startTestS3();
  proxy = await startTcpProxy(s3.port);
  fabric = await startFaultFabric({
    env: {
      FABRIC_LEASE_MS: String(LEASE_MS),
      FABRIC_S3_ENDPOINT: `http://127.0.0.1:${proxy.port}`,
      FABRIC_S3_ACCESS_KEY_ID: TEST_CREDENTIALS.accessKeyId,
      FABRIC_S3_SECRET_ACCESS_KEY: TEST_CREDENTIALS.secretAccessKey,
    },
  });
  otherProxy = await startTcpProxy(s3.port);
  other = await startExtraRunner(fabric, "nod_other", { FABRIC_S3_ENDPOINT: `http://127.0.0.1:${otherProxy.port}` });
});
afterAll(async () => {
  await other?.close();
  await fabric?.close();
  await proxy?.close();
  await otherProxy?.close();
  await s3?.close();
});

/** Calls that are taken by the other runner: the fabric's own one stands still until they run. */
async function onOther(
  calls: [fn: string, input: { token: string; [argument: string]: unknown }][],
): Promise<string[]> {
  const own = await fabric.pid("runner");
  process.kill(own, "SIGSTOP");
  try {
    const ids = await Promise.all(calls.map(([fn, input]) => fabric.ask(fn, { ...input, journal: fabric.journal })));
    for (const id of ids) expect(await fabric.running(id)).toMatchObject({ node: other.node });
    return ids;
  } finally {
    process.kill(own, "SIGCONT");
  }
}

test("a runner killed and back within its lease goes on with the same containers: one attempt", async () => {
  const [id = ""] = await onOther([["nap", { token: "back", seconds: 4 }]]);
  const { container } = await fabric.record(id);
  await other.kill();
  await passes(500);
  await other.start();
  expect(await fabric.ended(id)).toMatchObject({ state: "succeeded", attempts: 1, container, node: other.node });
  expect(await fabric.executions("back")).toBe(1);
});

test("SIGTERM lets a short call end and gives a long one to another node, without charge", async () => {
  const [short = "", long = ""] = await onOther([
    ["nap", { token: "short", seconds: 3 }],
    ["nap", { token: "long", seconds: 60 }],
  ]);
  await other.stop();
  expect(await fabric.record(short)).toMatchObject({ state: "succeeded", attempts: 1, node: other.node });
  const again = await fabric.running(long);
  expect(again.node).not.toBe(other.node);
  expect(again).toMatchObject({ attempts: 2, platformFaults: 0 });
  await fabric.cli("invocation", "cancel", long);
  await other.start();
});

test("a runner killed for good: another runs its call within a lease and a sweep, and the old container changes nothing", async () => {
  const [id = ""] = await onOther([["nap", { token: "gone", seconds: 15 }]]);
  const { container } = await fabric.record(id);
  await other.kill();
  await until(async () => (await fabric.record(id)).attempts === 2, 30_000, "another runner has taken it");
  const old = () => processesWith(`FABRIC_CONTAINER=${container}`);
  expect(await old()).not.toEqual([]);
  await other.start();
  await until(async () => (await old()).length === 0, 60_000, "what ran in the old container was ended");
  const final = await fabric.ended(id);
  expect(final).toMatchObject({ state: "succeeded", attempts: 2, generation: 2, platformFaults: 1 });
  expect(final.node).not.toBe(other.node);
  expect(await fabric.executions("gone", "ended")).toBe(1);
});

test("of two attempts that publish at the same time one result is there, for good", async () => {
  const [id = ""] = await onOther([["signed", { token: "twice", seconds: 1 }]]);
  otherProxy.hang();
  await until(async () => (await fabric.executions("twice", "ended")) === 1, 30_000, "the first has ended");
  other.signal("SIGSTOP");
  await until(async () => (await fabric.executions("twice")) === 2, 30_000, "the second runs");
  proxy.hang();
  await until(async () => (await fabric.executions("twice", "ended")) === 2, 30_000, "the second has ended");
  await passes(300);
  other.signal("SIGCONT");
  for (const one of [proxy, otherProxy]) one.heal();
  const final = await fabric.ended(id);
  expect(final).toMatchObject({ state: "succeeded", attempts: 2, generation: 2 });
  const result = async () => (await (await fabric.fetch(`/v1/invocations/${id}/result`)).json()) as any;
  const first = await result();
  expect(new Set(first.result.trim().split(" ")).size).toBe(1);
  await passes(1_000);
  expect(await result()).toEqual(first);
  expect(await fabric.record(id)).toEqual(final);
  expect(await fabric.executions("twice")).toBe(2);
});
