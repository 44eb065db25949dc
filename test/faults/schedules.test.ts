/** Three gateways, one of them killed every second or so: exactly one call for every tick. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { Redis } from "ioredis";
import { afterAll, beforeAll, expect, test } from "vitest";
import { systemClock } from "../../core/clock.ts";
import type { InvocationRecord } from "../../core/invocation.ts";
import { createRegistry, type Registry } from "../../core/registry.ts";
import { deploymentSchema } from "../../core/spec.ts";
import type { StateStore } from "../../core/state-store.ts";
import { functionSpec } from "../support/gateway.ts";
import { freePort, startRedis, type TestRedis, until } from "../support/redis.ts";
import { startTestS3, TEST_CREDENTIALS, type TestS3 } from "../support/s3.ts";
import { connectState } from "../support/state.ts";

const GATEWAYS = 3;
/** Shorter than what users may ask for. */
const EVERY_MS = 250;
const WANTED = 100;

let redis: TestRedis;
let s3: TestS3;
let state: StateStore;
let registry: Registry;
const gateways: ChildProcess[] = [];
let ended = false;

beforeAll(async () => {
  redis = await startRedis();
  s3 = await startTestS3();
  state = await connectState({ url: redis.url, prefix: "fabric", recordTtlSeconds: 3600 });
  registry = await createRegistry({ objects: await s3.objects(), state, clock: systemClock });
  for (let i = 0; i < GATEWAYS; i++) await startOne(i);
});
afterAll(async () => {
  ended = true;
  for (const gateway of gateways) gateway.kill("SIGKILL");
  registry.close();
  await state.close();
  await s3.close();
  await redis.close();
});

async function startOne(index: number): Promise<void> {
  const gateway = spawn(process.execPath, ["dist/gateway.js"], {
    cwd: fileURLToPath(new URL("../../", import.meta.url)),
    stdio: ["ignore", "pipe", "ignore"],
    env: {
      ...process.env,
      FABRIC_REDIS_URL: redis.url,
      FABRIC_S3_ENDPOINT: `http://127.0.0.1:${s3.port}`,
      FABRIC_S3_ACCESS_KEY_ID: TEST_CREDENTIALS.accessKeyId,
      FABRIC_S3_SECRET_ACCESS_KEY: TEST_CREDENTIALS.secretAccessKey,
      FABRIC_ADMIN_TOKEN: "t",
      FABRIC_PORT: String(await freePort()),
      FABRIC_HOST: "127.0.0.1",
      FABRIC_URL: "",
      FABRIC_ENGINE: "process",
      FABRIC_LOG_LEVEL: "error",
    },
  });
  gateways[index] = gateway;
  await once(gateway.stdout!, "data");
}

const publish = (app: string, seconds: number): Promise<unknown> => {
  const functions = [functionSpec("f")];
  const images = { main: { python: "3.11", layers: [] } };
  const deployment = deploymentSchema.parse({ app, source: "0".repeat(64), images, functions });
  const schedule = {
    kind: "period",
    ...{ years: 0, months: 0, weeks: 0, days: 0, hours: 0, minutes: 0, seconds },
    on_missed: "run_once",
  } as const;
  return registry.publish(
    { ...deployment, functions: deployment.functions.map((one) => ({ ...one, schedule })) },
    { main: "x" },
  );
};
const calls = (app: string): Promise<InvocationRecord[]> => state.invocations.list({ app, limit: 10_000 });
const ticksOf = (records: InvocationRecord[]): number[] => records.map(({ tick }) => tick!).sort((a, b) => a - b);

test("gateways killed at random moments make each tick once", async () => {
  await publish("often", EVERY_MS / 1000);
  let kills = 0;
  const killing = (async () => {
    while (!ended) {
      const victim = Math.floor(Math.random() * GATEWAYS);
      const seen = (await calls("often")).length;
      await until(async () => ended || (await calls("often")).length > seen, 30_000, "ticks go on");
      gateways[victim]!.kill("SIGKILL");
      kills++;
      await startOne(victim);
    }
  })();
  await until(async () => (await calls("often")).length >= WANTED, 120_000, `${WANTED} ticks`);
  ended = true;
  await killing;
  const { nextTick } = (await state.schedules.get("often/f"))!;
  await until(
    async () => (await state.schedules.find({ ageMs: -1, max: 10 })).taken.length === 0,
    20_000,
    "ticks of dead gateways are made",
  );
  const made = ticksOf(await calls("often")).filter((tick) => tick < nextTick!);
  const expected = Array.from({ length: made.length }, (_, i) => made[0]! + i * EVERY_MS);
  expect(made).toEqual(expected);
  console.info(`${made.length} ticks, ${kills} gateways killed`);
  expect(kills).toBeGreaterThanOrEqual(3);
});

test("a FLUSHALL repeats no tick that the bucket knows of", async () => {
  await publish("seldom", 2);
  await until(async () => (await calls("seldom")).length >= 2, 30_000, "ticks are made");
  const { lastTick: last } = await until(
    async () => {
      const now = await state.schedules.get("seldom/f");
      const { unsaved } = await state.schedules.find({ ageMs: -1, max: 10 });
      return now?.lastTick !== undefined && !unsaved.some(({ key }) => key === now.key) ? now : undefined;
    },
    10_000,
    "the last tick is saved",
  );
  const client = new Redis(redis.url);
  await client.flushall();
  client.disconnect();
  await until(async () => (await calls("seldom")).length >= 3, 30_000, "ticks go on");
  const ticks = ticksOf(await calls("seldom"));
  expect(ticks).toEqual(Array.from({ length: ticks.length }, (_, i) => last! + (i + 1) * 2_000));
});
