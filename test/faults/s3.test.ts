/** The bucket is away, or accepts and never answers: results wait for it, and nothing else does. */
import { writeFile } from "node:fs/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { listSteps } from "../../core/checkpoint-reader.ts";
import { type FaultFabric, startFaultFabric } from "../support/fault-fabric.ts";
import { send } from "../support/load.ts";
import { until } from "../support/redis.ts";
import { startTestS3, TEST_CREDENTIALS, type TestS3 } from "../support/s3.ts";
import { startTcpProxy, type TcpProxy } from "../support/tcp-proxy.ts";

let s3: TestS3;
let proxy: TcpProxy;
let fabric: FaultFabric;
beforeAll(async () => {
  s3 = await startTestS3();
  proxy = await startTcpProxy(s3.port);
  fabric = await startFaultFabric({
    env: {
      FABRIC_S3_ENDPOINT: `http://127.0.0.1:${proxy.port}`,
      FABRIC_S3_ACCESS_KEY_ID: TEST_CREDENTIALS.accessKeyId,
      FABRIC_S3_SECRET_ACCESS_KEY: TEST_CREDENTIALS.secretAccessKey,
      FABRIC_STORAGE_PATIENCE_SECONDS: "3",
    },
    warm: ["fast", "large", "signed"],
  });
});
afterAll(async () => {
  await fabric?.close();
  await proxy?.close();
  await s3?.close();
});

/** Three calls whose results belong into the bucket end while it is away. */
async function endDuring(name: string, fault: () => void, awayMs: number): Promise<void> {
  const tokens = [1, 2, 3].map((i) => `${name}-${i}`);
  const ids = await Promise.all(tokens.map((token) => fabric.ask("large", { token, journal: fabric.journal })));
  fault();
  const late = await fabric.ask("signed", { token: `${name}-late`, seconds: 0.5, journal: fabric.journal });
  const ended = async () => (await fabric.executions(`${name}-late`, "ended")) === 1;
  await until(ended, 30_000, "the function has ended");
  for (const since = performance.now(); performance.now() - since < awayMs; ) await fabric.works();
  expect(await fabric.record(late)).toMatchObject({ state: "running" });
  proxy.heal();
  for (const id of [...ids, late]) expect(await fabric.ended(id)).toMatchObject({ state: "succeeded", attempts: 1 });
  for (const token of tokens) expect(await fabric.executions(token)).toBe(1);
}

test("S3 down when functions end: their results are there once it is back, other calls go on", () =>
  endDuring("down", () => proxy.drop(), 3_000));

test("S3 that accepts and never answers: results are there once it answers, other calls go on", () =>
  endDuring("hung", () => proxy.hang(), 12_000));

test("S3 down while a training saves: it waits, says so, and goes on; given up, it runs again on fabric's budget", async () => {
  const objects = await s3.objects();
  const id = await fabric.ask("learns", { token: "learns", journal: fabric.journal });
  const steps = () => listSteps(objects, "learns");
  const reason = async (): Promise<string> => (await fabric.record(id)).reason ?? "";
  await until(async () => (await steps()).length > 1, 30_000, "it saves");
  proxy.drop();
  await until(async () => /its checkpoint waits for storage/.test(await reason()), 30_000, "it says what it waits for");
  const before = (await steps()).at(-1)!;
  proxy.heal();
  await until(async () => (await steps()).at(-1)! > before + 1, 30_000, "it goes on");
  expect(await fabric.record(id)).toMatchObject({ attempts: 1, reason: expect.not.stringContaining("storage") });
  proxy.drop();
  const given = await until(async () => (await fabric.record(id)).platformFaults === 1, 30_000, "it is given up");
  expect(given).toBe(true);
  const last = (await steps()).at(-1)!;
  proxy.heal();
  await writeFile(`${fabric.journal}.learns`, "");
  expect(await fabric.ended(id)).toMatchObject({ state: "succeeded", attempts: 2, userFaults: 0, platformFaults: 1 });
  const { result } = (await (await fabric.fetch(`/v1/invocations/${id}/result`)).json()) as any;
  expect(result).toBe(last + 1);
  expect(await steps()).toEqual(Array.from({ length: last + 2 }, (_, step) => step));
});

test("a call whose arguments belong into the bucket is refused by a code while it is down, and leaves nothing", async () => {
  const token = "large-input".padEnd(20_000, "x");
  proxy.drop();
  try {
    expect(await send(fabric, { fn: "fast", token, journal: fabric.journal })).toEqual({
      refused: "503 storage_unavailable",
    });
    await fabric.works();
  } finally {
    proxy.heal();
  }
  expect(await fabric.ended(await fabric.ask("fast", { token, journal: fabric.journal }))).toMatchObject({
    state: "succeeded",
    attempts: 1,
  });
});

test("an upload cut in the middle is repeated, and the result is whole", async () => {
  proxy.cutAfter(50_000, "up");
  const id = await fabric.ask("large", { token: "cut", size: 400_000, journal: fabric.journal });
  expect(await fabric.ended(id)).toMatchObject({ state: "succeeded", attempts: 1 });
  const { result } = (await (await fabric.fetch(`/v1/invocations/${id}/result`)).json()) as any;
  expect(result).toBe("cut ".repeat(100_000));
  proxy.heal();
});
