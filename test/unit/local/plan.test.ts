/** Which processes run, what they are told, and that no secret stands in their arguments. */
import { expect, it } from "vitest";
import { loadConfig } from "../../../core/config.ts";
import { clientFacts, type PlanInput, planProcesses, redisConf } from "../../../local/plan.ts";

const state = {
  fabricId: "fab_1",
  nodeId: "nod_1",
  adminToken: "fab_admin_secret",
  redisPassword: "redis-secret",
  s3AccessKeyId: "KEYID",
  s3SecretAccessKey: "s3-secret",
};
const input = (environment: Record<string, string> = {}): PlanInput => ({
  config: loadConfig({ FABRIC_DATA_DIR: "/data", ...environment }),
  state,
  ports: { gateway: 1, redis: 2, s3: 3 },
  node: { command: "/node", dist: "/fabric/dist" },
});

it("runs Redis, the S3 endpoint, gateway and runner, which all know the same", () => {
  const plans = planProcesses(input());
  expect(plans.map(({ name, command, args }) => [name, command, ...args])).toEqual([
    ["redis", "redis-server", "/data/redis.conf"],
    ["s3", "/node", "/fabric/dist/s3.js", "--port", "3", "--host", "127.0.0.1", "--dir", "/data/s3"],
    ["gateway", "/node", "/fabric/dist/gateway.js"],
    ["runner", "/node", "/fabric/dist/runner.js"],
  ]);
  for (const { env } of plans.slice(2))
    expect(env).toMatchObject({
      FABRIC_REDIS_URL: "redis://:redis-secret@127.0.0.1:2",
      FABRIC_S3_ENDPOINT: "http://127.0.0.1:3",
      FABRIC_S3_ACCESS_KEY_ID: "KEYID",
      FABRIC_ADMIN_TOKEN: "fab_admin_secret",
      FABRIC_ID: "fab_1",
      FABRIC_NODE_ID: "nod_1",
      FABRIC_PORT: "1",
      FABRIC_URL: "http://127.0.0.1:1",
    });
});

it("puts no secret where everybody on the machine can read it", () => {
  for (const { args } of planProcesses(input())) expect(args.join(" ")).not.toMatch(/secret/);
});

it("starts no Redis and no S3 endpoint where others are named", () => {
  const external = input({
    FABRIC_REDIS_URL: "redis://elsewhere:6379",
    FABRIC_S3_ENDPOINT: "https://s3.example",
    FABRIC_S3_ACCESS_KEY_ID: "theirs",
    FABRIC_S3_SECRET_ACCESS_KEY: "theirs-too",
  });
  const plans = planProcesses(external);
  expect(plans.map(({ name }) => name)).toEqual(["gateway", "runner"]);
  expect(plans[0]?.env).toMatchObject({
    FABRIC_REDIS_URL: "redis://elsewhere:6379",
    FABRIC_S3_ENDPOINT: "https://s3.example",
    FABRIC_S3_ACCESS_KEY_ID: "theirs",
  });
});

it("never lets Redis evict, and always bounds and keeps it", () => {
  const lines = redisConf(input()).split("\n");
  expect(lines).toEqual(
    expect.arrayContaining([
      "bind 127.0.0.1",
      "port 2",
      "appendonly yes",
      "appendfsync everysec",
      "maxmemory-policy noeviction",
      "maxmemory 1024mb",
      "requirepass redis-secret",
    ]),
  );
});

it("names addresses a client on this machine can use, whatever is bound", () => {
  expect(clientFacts(input({ FABRIC_HOST: "0.0.0.0" }))).toMatchObject({
    url: "http://127.0.0.1:1",
    s3: { endpoint: "http://127.0.0.1:3" },
  });
});
