/** Which processes a fabric consists of here, and what each is told: decided from configuration and state alone. */
import { join } from "node:path";
import { type Config, toEnvironment } from "../core/config.ts";
import { type DataDir, dataDir } from "./data-dir.ts";
import type { OurNode } from "./our-node.ts";
import type { Facts } from "./running.ts";
import type { LocalState, Ports } from "./state.ts";

export type ProcessName = "redis" | "s3" | "gateway" | "runner";

export interface ProcessPlan {
  name: ProcessName;
  command: string;
  args: string[];
  /** Added to the supervisor's own environment. */
  env: Record<string, string>;
  /** `line`: it prints {"ready":true,...}; `redis`: it answers PING. */
  readiness: "line" | "redis";
  readyWithinMs: number;
  /** Between SIGTERM and SIGKILL. */
  graceMs: number;
}

export interface PlanInput {
  config: Config;
  state: LocalState;
  ports: Ports;
  node: OurNode;
}

const LOOPBACK = new Set(["127.0.0.1", "localhost", "::1"]);
export const isLoopback = (host: string): boolean => LOOPBACK.has(host);
/** Where a client on this machine finds what binds `host`. */
const reachable = (host: string): string => {
  if (host === "0.0.0.0") return "127.0.0.1";
  if (host === "::") return "[::1]";
  return host.includes(":") ? `[${host}]` : host;
};

const clientUrl = (host: string, port: number): string => `http://${reachable(host)}:${port}`;

/** The configuration every process of this fabric shares. */
export function sharedConfig({ config, state, ports }: Omit<PlanInput, "node">): Config {
  const ownS3 = config.s3Endpoint === "";
  return {
    ...config,
    url: clientUrl(config.host, ports.gateway),
    token: "",
    port: ports.gateway,
    redisPort: ports.redis,
    s3Port: ports.s3,
    redisUrl: config.redisUrl || `redis://:${state.redisPassword}@127.0.0.1:${ports.redis}`,
    s3Endpoint: config.s3Endpoint || `http://${reachable(config.host)}:${ports.s3}`,
    s3AccessKeyId: ownS3 ? state.s3AccessKeyId : config.s3AccessKeyId,
    s3SecretAccessKey: ownS3 ? state.s3SecretAccessKey : config.s3SecretAccessKey,
    adminToken: config.adminToken || state.adminToken,
    fabricId: config.fabricId || state.fabricId,
    nodeId: config.nodeId || state.nodeId,
  };
}

export function planProcesses(input: PlanInput): ProcessPlan[] {
  const shared = sharedConfig(input);
  const dir = dataDir(shared.dataDir);
  return [
    ...(input.config.redisUrl === "" ? [redisPlan(dir)] : []),
    ...(input.config.s3Endpoint === "" ? [s3Plan(input, shared, dir)] : []),
    entryPlan(input, "gateway", shared, 15_000),
    entryPlan(input, "runner", shared, 60_000),
  ];
}

const redisPlan = (dir: DataDir): ProcessPlan => ({
  name: "redis",
  command: "redis-server",
  args: [dir.redisConf],
  env: {},
  readiness: "redis",
  readyWithinMs: 120_000, // a long append-only file takes its time to load
  graceMs: 30_000,
});

const s3Plan = (input: PlanInput, shared: Config, dir: DataDir): ProcessPlan => ({
  name: "s3",
  command: input.node.command,
  args: [join(input.node.dist, "s3.js"), ...["--port", String(shared.s3Port), "--host", shared.host, "--dir", dir.s3]],
  env: toEnvironment({
    s3AccessKeyId: shared.s3AccessKeyId,
    s3SecretAccessKey: shared.s3SecretAccessKey,
    s3Region: shared.s3Region,
    bucket: shared.bucket,
    logLevel: shared.logLevel,
  }),
  readiness: "line",
  readyWithinMs: 30_000,
  graceMs: 10_000,
});

const entryPlan = (input: PlanInput, name: "gateway" | "runner", shared: Config, graceMs: number): ProcessPlan => ({
  name,
  command: input.node.command,
  args: [join(input.node.dist, `${name}.js`)],
  env: { ...toEnvironment(shared), AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: "1" }, // the release is pinned
  readiness: "line",
  readyWithinMs: 60_000,
  graceMs,
});

/** The password stands in a file because anybody on the machine can read a process's arguments. */
export function redisConf({ config, state, ports }: Omit<PlanInput, "node">): string {
  return [
    "bind 127.0.0.1",
    `port ${ports.redis}`,
    `dir ${JSON.stringify(dataDir(config.dataDir).redis)}`,
    `requirepass ${state.redisPassword}`,
    "appendonly yes",
    "appendfsync everysec",
    'save ""',
    "maxmemory-policy noeviction",
    `maxmemory ${config.redisMaxMemory}mb`,
    "daemonize no",
    'logfile ""',
    "",
  ].join("\n");
}

/** What clients on this machine need, for the user's config file and `fabric env`. */
export function clientFacts(input: Omit<PlanInput, "node">): Omit<Facts, "engine" | "notices"> {
  const shared = sharedConfig(input);
  return {
    url: shared.url,
    token: shared.adminToken,
    bucket: shared.bucket,
    dataDir: shared.dataDir,
    s3: {
      endpoint: shared.s3PublicEndpoint || shared.s3Endpoint,
      region: shared.s3Region,
      accessKeyId: shared.s3AccessKeyId,
      secretAccessKey: shared.s3SecretAccessKey,
    },
  };
}
