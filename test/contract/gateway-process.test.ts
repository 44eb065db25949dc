/** The gateway as a process: it starts before Redis and S3, and stops without losing those who wait. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, it } from "vitest";
import { systemClock } from "../../core/clock.ts";
import { createRegistry } from "../../core/registry.ts";
import { deploymentSchema } from "../../core/spec.ts";
import { ADMIN, functionSpec } from "../support/gateway.ts";
import { freePort, startRedis, type TestRedis, until } from "../support/redis.ts";
import { startTestS3, TEST_CREDENTIALS, type TestS3 } from "../support/s3.ts";
import { connectState } from "../support/state.ts";

let redis: TestRedis;
let s3: TestS3;
let port: number;
let gateway: ChildProcess;
let s3Port: number;

const ask = (path: string, init: RequestInit = {}) =>
  fetch(`http://127.0.0.1:${port}${path}`, { ...init, headers: { authorization: `Bearer ${ADMIN}`, ...init.headers } });

beforeAll(async () => {
  redis = await startRedis();
  await redis.kill();
  [port, s3Port] = [await freePort(), await freePort()];
  gateway = spawn(process.execPath, ["dist/gateway.js"], {
    cwd: fileURLToPath(new URL("../../", import.meta.url)),
    stdio: ["ignore", "pipe", "ignore"],
    env: {
      ...process.env,
      FABRIC_REDIS_URL: redis.url,
      FABRIC_S3_ENDPOINT: `http://127.0.0.1:${s3Port}`,
      FABRIC_S3_ACCESS_KEY_ID: TEST_CREDENTIALS.accessKeyId,
      FABRIC_S3_SECRET_ACCESS_KEY: TEST_CREDENTIALS.secretAccessKey,
      FABRIC_ADMIN_TOKEN: ADMIN,
      FABRIC_PORT: String(port),
      FABRIC_HOST: "127.0.0.1",
      FABRIC_URL: "",
      FABRIC_ENGINE: "process",
      FABRIC_LOG_LEVEL: "warn",
    },
  });
});
afterAll(async () => {
  gateway.kill("SIGKILL");
  await redis.close();
  await s3?.close();
});

it("listens before Redis and S3 are there, and becomes ready when they come", async () => {
  const ready = once(createInterface(gateway.stdout!), "line");
  const status = (path: string) =>
    ask(path).then(
      (reply) => reply.status,
      () => 0,
    );
  await until(async () => (await status("/healthz")) === 200, 20_000, "it listens");
  expect(await status("/readyz")).toBe(503);
  const early = await ask("/v1/apps");
  expect([early.status, early.headers.get("retry-after")]).toEqual([503, "2"]);
  await redis.start();
  s3 = await startTestS3({ port: s3Port });
  expect(JSON.parse(String((await ready)[0]))).toEqual({ ready: true, port });
  expect(await status("/readyz")).toBe(200);
});

it("answers who waits with 202 when it is told to stop, and exits 0", async () => {
  const state = await connectState({ url: redis.url, prefix: "fabric", recordTtlSeconds: 60 });
  const registry = await createRegistry({ objects: await s3.objects(), state, clock: systemClock });
  const images = { main: { python: "3.11", layers: [] } };
  const functions = [functionSpec("f")];
  await registry.publish(deploymentSchema.parse({ app: "a", source: "0".repeat(64), images, functions }), {
    main: "x",
  });
  const waiting = ask("/f/a/f", { method: "POST" });
  await until(async () => (await state.invocations.list({ limit: 1 })).length === 1, 5_000, "the call is accepted");
  const exited = once(gateway, "exit");
  gateway.kill("SIGTERM");
  const reply = await waiting;
  expect(reply.status).toBe(202);
  expect((await state.invocations.get(((await reply.json()) as { id: string }).id))?.state).toBe("queued");
  expect(await exited).toEqual([0, null]);
  registry.close();
  await state.close();
});
