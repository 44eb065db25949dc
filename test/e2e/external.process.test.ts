/** A fabric on a Redis and an S3 server that are not its own, chosen by configuration alone. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { afterAll, beforeAll, expect, test } from "vitest";
import { s3ObjectStore } from "../../core/object-store-s3.ts";
import { startS3 } from "../../local/s3/server.ts";
import { findTool } from "../contract/tools.ts";
import { startFabric, type TestFabric } from "../support/fabric.ts";
import { freePort, startRedis, type TestRedis, until } from "../support/redis.ts";

const KEYS = { accessKeyId: "outside-key", secretAccessKey: "outside-secret" };
const VERSITY = await findTool("versitygw");
const SERVER = VERSITY ? "versitygw" : "our own S3 endpoint, for want of versitygw";

let redis: TestRedis;
let s3: { url: string; close(): Promise<void> };
let env: NodeJS.ProcessEnv;
beforeAll(async () => {
  redis = await startRedis();
  s3 = await startOutsideS3();
  env = {
    FABRIC_REDIS_URL: redis.url,
    FABRIC_S3_ENDPOINT: s3.url,
    FABRIC_S3_ACCESS_KEY_ID: KEYS.accessKeyId,
    FABRIC_S3_SECRET_ACCESS_KEY: KEYS.secretAccessKey,
    FABRIC_BUCKET: "outside",
  };
});
afterAll(async () => {
  await s3?.close();
  await redis?.close();
});

async function startOutsideS3(): Promise<typeof s3> {
  const dir = await mkdtemp(join(tmpdir(), "fab-s3-"));
  const discard = () => rm(dir, { recursive: true, force: true });
  if (!VERSITY) {
    const own = await startS3({ dir, credentials: KEYS });
    return { url: own.url, close: () => own.close().then(discard) };
  }
  const port = await freePort();
  const keys = ["--access", KEYS.accessKeyId, "--secret", KEYS.secretAccessKey];
  const child = spawn(VERSITY, [...keys, "--port", `127.0.0.1:${port}`, "posix", dir], { stdio: "ignore" });
  const url = `http://127.0.0.1:${port}`;
  await until(() => fetch(url).then(Boolean, () => false), 20_000, "versitygw answers");
  return {
    url,
    async close() {
      child.kill("SIGKILL");
      await once(child, "exit");
      await discard();
    },
  };
}

async function withRedis<T>(act: (client: Redis) => Promise<T>): Promise<T> {
  const client = new Redis(redis.url);
  try {
    return await act(client);
  } finally {
    client.disconnect();
  }
}

async function works(fabric: TestFabric): Promise<void> {
  await fabric.json("deploy", "test/apps/probe.py");
  expect((await fabric.call("add", { a: 1, b: 2 })).body).toBe(3);
  expect((await fabric.call("big", { size: 3_000_000 })).body).toHaveLength(3_000_000);
  const id = await fabric.spawn("trains", { epochs: 2, series: "outside" });
  expect(await fabric.ended(id)).toMatchObject({ state: "succeeded" });
}

test(`deploys, calls and checkpoints go to the Redis and bucket that were named (${SERVER})`, async () => {
  const fabric = await startFabric({ engine: "process", env });
  try {
    await works(fabric);
    const { children } = JSON.parse(await readFile(join(fabric.dataDir, "running.json"), "utf8"));
    expect(Object.keys(children).sort()).toEqual(["gateway", "runner"]);
    expect(await withRedis((client) => client.dbsize())).toBeGreaterThan(0);
    const store = s3ObjectStore({ endpoint: s3.url, region: "us-east-1", bucket: "outside", ...KEYS });
    const manifest = await store.get("checkpoints/outside/00000001/manifest.json");
    store.close();
    expect(manifest).toBeDefined();
    const shown = await fabric.json<Record<string, string>>("env");
    expect(shown).toMatchObject({ AWS_ENDPOINT_URL: s3.url, AWS_ACCESS_KEY_ID: KEYS.accessKeyId });
  } finally {
    await fabric.close();
  }
});

test("what is in the bucket and Redis is there for the next fabric of the same configuration", async () => {
  const fabric = await startFabric({ engine: "process", env });
  try {
    const versions = await fabric.json<{ versions: unknown[] }>("app", "versions", "probe");
    expect(JSON.stringify(versions)).toContain('"version":"1"');
    await works(fabric);
  } finally {
    await fabric.close();
  }
});

test("a Redis that evicts is refused, and nothing is started", async () => {
  await withRedis((client) => client.config("SET", "maxmemory-policy", "allkeys-lru"));
  try {
    await expect(startFabric({ engine: "process", env })).rejects.toThrow(
      /maxmemory-policy allkeys-lru[\s\S]*Set `maxmemory-policy noeviction` on it/,
    );
  } finally {
    await withRedis((client) => client.config("SET", "maxmemory-policy", "noeviction"));
  }
});

test("an S3 endpoint that does not answer is named, and nothing is started", async () => {
  const nowhere = `http://127.0.0.1:${await freePort()}`;
  await expect(startFabric({ engine: "process", env: { ...env, FABRIC_S3_ENDPOINT: nowhere } })).rejects.toThrow(
    `the S3 endpoint ${nowhere} (FABRIC_S3_ENDPOINT) does not answer`,
  );
});
