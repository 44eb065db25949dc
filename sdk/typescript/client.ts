/** A typed client of fabric's HTTP API: what the command line uses, and any TypeScript program can. */
import { randomUUID } from "node:crypto";
import type { ErrorBody } from "../../core/errors.ts";
import type { InvocationState } from "../../core/invocation.ts";
import type { LogGap } from "../../core/log-seq.ts";
import type { Quota } from "../../core/quota.ts";
import type { Deployment } from "../../core/spec.ts";
import { type CallOptions, optionHeaders } from "./call-options.ts";
import { checkpointCalls } from "./checkpoint-calls.ts";
import { type EventsOptions, events } from "./events.ts";
import { type Connection, fromBody, type Http, http } from "./http.ts";
import { type MapOptions, map } from "./map.ts";
import { type Bytes, pastGateway, type Upload, uploadCall } from "./upload.ts";

export type DeployEvent =
  | { type: "step" | "log"; text: string }
  | { type: "deployed"; app: string; version: string; unchanged: boolean; urls: Record<string, string> }
  | { type: "error"; error: ErrorBody };

export interface LogEntry {
  seq: number | string;
  at: number | string;
  fn: string;
  invocation?: string;
  container?: string;
  source: "stdout" | "stderr" | string;
  /** Which rank of a gang printed it. */
  rank?: number;
  text: string;
  /** Lines are missing here; `text` says so in words. */
  gap?: LogGap;
  reason?: string;
}

export interface LogQuery {
  follow?: boolean;
  function?: string;
  invocation?: string;
  root?: string;
  source?: string;
  /** Plain text. */
  grep?: string;
  /** `10m`, `3d`, or an ISO date or date-time. */
  since?: string;
  until?: string;
  /** A line's `seq`: go on behind it. */
  after?: string;
  tail?: number;
}

export interface Pending {
  id: string;
  state: InvocationState;
  reason?: string;
}
export interface Ended {
  id: string;
  state: "succeeded";
  result: unknown;
}
export type Answer = Ended | Pending;

interface Budget {
  spent: number;
  of: number;
}
export interface ExplainedAttempt {
  generation: number;
  node?: string;
  container?: string;
  claimedAt?: string;
  outcome: string;
  charged?: "user" | "platform" | "none";
  timings: Record<string, number>;
}
export interface Explanation {
  invocation: { id: string; state: InvocationState; version: string; createdAt: string } & Record<string, unknown>;
  summary: string;
  attempts: ExplainedAttempt[];
  budgets: { user: Budget; platform: Budget };
  needs?: { cpu: number; memoryMiB: number; gpu?: unknown; slots: number; maxContainers: number; gang?: number };
  nodes?: {
    node: string;
    free: { cpu: number; memoryMiB: number; gpus: number };
    held: { function: string; containers: number; gpus: number }[];
  }[];
  verdict?: { fault: "user" | "platform"; retryable: boolean; help: string };
  logs: LogEntry[];
}

/** On the gateway's node. */
export interface NodeImage {
  image: string;
  /** With the layers that others have, too. */
  bytes?: number;
  /** `app@version`. */
  neededBy: string[];
  /** Since then nobody has. */
  unneededSince?: string;
}

export interface Load {
  at: string;
  functions: {
    function: string;
    queued: number;
    running: number;
    waiting: number;
    slots: number;
    containers: number;
    starting: number;
    callsPerSecond: number;
    p50Ms?: number;
    missing?: string;
  }[];
  nodes: {
    node: string;
    hostname: string;
    engine: string;
    containers: number;
    /** Booked, and what there is. */
    cpu: [number, number];
    memoryMiB: [number, number];
    gpus: [number, number];
  }[];
}

export interface ScheduleStatus {
  app: string;
  function: string;
  version: string;
  /** In words. */
  schedule: string;
  onMissed: "run_once" | "skip";
  paused: boolean;
  nextTick?: string;
  lastTick?: string;
  lastInvocation?: { id: string; state?: InvocationState };
}

const part = encodeURIComponent;

/** A request waits this long at most: HTTP clients and proxies between give up on longer silences. */
const WAIT_SECONDS = 60;
const prefer = (seconds: number): string =>
  seconds <= 0 ? "respond-async" : `wait=${Math.min(Math.ceil(seconds), WAIT_SECONDS)}`;

export function createClient(connection: Connection) {
  const api = http(connection);
  return {
    http: api,
    ...appCalls(api),
    ...invocationCalls(api),
    ...checkpointCalls(api),
    ...scheduleCalls(api),
    ...operatorCalls(api),
  };
}
export type Client = ReturnType<typeof createClient>;

/** A stream that fails in the middle says so in a last line of its own. */
async function* logLines(api: Http, path: string, query: LogQuery, signal?: AbortSignal): AsyncGenerator<LogEntry> {
  const lines = api.lines<LogEntry | { type: "error"; error: ErrorBody }>("GET", path, { query: { ...query }, signal });
  for await (const line of lines) {
    if ("error" in line) throw fromBody(line.error);
    yield line;
  }
}

const appCalls = (api: Http) => ({
  apps: () => api.json<unknown>("GET", "/v1/apps"),
  app: (name: string) => api.json<Record<string, unknown>>("GET", `/v1/apps/${part(name)}`),
  versions: (name: string) => api.json<unknown>("GET", `/v1/apps/${part(name)}/versions`),
  rollback: (name: string, version?: string) =>
    api.json<Record<string, unknown>>("POST", `/v1/apps/${part(name)}/rollback`, { json: version ? { version } : {} }),
  async deleteApp(name: string): Promise<void> {
    await api.send("DELETE", `/v1/apps/${part(name)}`);
  },
  hasSource: async (sha256: string): Promise<boolean> =>
    (await api.send("HEAD", `/v1/sources/${sha256}`, { accept: [404] })).status !== 404,
  async putSource(sha256: string, body: ReadableStream<Uint8Array>, signal?: AbortSignal): Promise<void> {
    await api.send("PUT", `/v1/sources/${sha256}`, { body, signal, headers: { "content-type": "application/gzip" } });
  },
  describe: (body: ReadableStream<Uint8Array>, path: string, python: string) =>
    api.json<unknown>("POST", "/v1/describe", {
      body,
      query: { path, python },
      headers: { "content-type": "application/gzip" },
      accept: [422],
    }),
  deploy: (deployment: Deployment, options: { ephemeral?: boolean; signal?: AbortSignal } = {}) =>
    api.lines<DeployEvent>("POST", `/v1/apps/${part(deployment.app)}/deployments`, {
      json: deployment,
      query: { ephemeral: options.ephemeral ? true : undefined },
      signal: options.signal,
    }),
  logs: (app: string, query: LogQuery, signal?: AbortSignal) =>
    logLines(api, `/v1/apps/${part(app)}/logs`, query, signal),
});

const invocationCalls = (api: Http) => ({
  /** `input` is JSON text, an object of named arguments or an array of positional ones, or was uploaded. */
  async invoke(app: string, fn: string, input: string | Upload, options: CallOptions = {}): Promise<Answer> {
    const given = typeof input === "string" ? await pastGateway(api, input, options.signal) : input;
    const isUpload = typeof given !== "string";
    const response = await api.send("POST", `/v1/apps/${part(app)}/functions/${part(fn)}/invocations`, {
      body: isUpload ? "" : given,
      query: { ...options.parameters, version: options.version },
      headers: {
        "content-type": "application/json",
        ...(isUpload ? { "fabric-input": given.upload, "fabric-body": "call" } : {}),
        ...(options.overrides ? { "fabric-options": JSON.stringify(options.overrides) } : {}),
        prefer: prefer(options.waitSeconds ?? WAIT_SECONDS),
        ...optionHeaders({ ...options, idempotencyKey: options.idempotencyKey ?? randomUUID() }),
      },
      signal: options.signal,
      repeat: true,
    });
    return readAnswer(response);
  },
  /** Puts a call's input into the bucket, past the gateway: up to 5 GiB. */
  upload: (body: Bytes, signal?: AbortSignal): Promise<Upload> => uploadCall(api, body, signal),
  /** Calls the function once for each input; outcomes come while inputs are still being sent. */
  map: (app: string, fn: string, inputs: AsyncIterable<unknown> | Iterable<unknown>, options?: MapOptions) =>
    map(api, app, fn, inputs, options),
  /** One input of a map: where it is, or what it ended with. */
  input: (id: string, index: string) =>
    api.json<Record<string, unknown>>("GET", `/v1/invocations/${part(id)}/inputs/${part(index)}`),
  async result(id: string, waitSeconds = 0, signal?: AbortSignal): Promise<Answer> {
    const headers = { prefer: waitSeconds <= 0 ? "wait=0" : prefer(waitSeconds) };
    return readAnswer(await api.send("GET", `/v1/invocations/${part(id)}/result`, { headers, signal, repeat: true }));
  },
  invocation: (id: string) => api.json<Record<string, unknown>>("GET", `/v1/invocations/${part(id)}`),
  invocations: (query: {
    app?: string;
    function?: string;
    state?: string;
    since?: string;
    parent?: string;
    limit?: number;
  }) => api.json<unknown>("GET", "/v1/invocations", { query }),
  invocationLogs: (id: string, query: LogQuery, signal?: AbortSignal) =>
    logLines(api, `/v1/invocations/${part(id)}/logs`, query, signal),
  /** What happens to a call, as it happens: its states, what a generator yields, its end. */
  events: (id: string, options?: EventsOptions) => events(api, id, options),
  explain: (id: string) => api.json<Explanation>("GET", `/v1/invocations/${part(id)}/explain`),
  redrive: (id: string) =>
    api.json<{ id: string; redrivenFrom: string; created: boolean }>("POST", `/v1/invocations/${part(id)}/redrive`),
  cancel: (id: string) => api.json<Pending>("POST", `/v1/invocations/${part(id)}/cancel`),
});

async function readAnswer(response: Response): Promise<Answer> {
  const body = (await response.json()) as Answer & { error?: ErrorBody };
  if (body.error) throw fromBody(body.error);
  return body;
}

const scheduleCalls = (api: Http) => {
  const verb =
    <T>(name: string) =>
    (app: string, fn: string) =>
      api.json<T>("POST", `/v1/schedules/${part(app)}/${part(fn)}/${name}`);
  return {
    schedules: () => api.json<{ schedules: ScheduleStatus[] }>("GET", "/v1/schedules"),
    pauseSchedule: verb<ScheduleStatus>("pause"),
    resumeSchedule: verb<ScheduleStatus>("resume"),
    triggerSchedule: verb<{ id: string }>("trigger"),
  };
};

const operatorCalls = (api: Http) => ({
  nodes: () => api.json<unknown>("GET", "/v1/nodes"),
  load: () => api.json<Load>("GET", "/v1/load"),
  containers: () => api.json<unknown>("GET", "/v1/containers"),
  images: () => api.json<{ images: NodeImage[] }>("GET", "/v1/images"),
  pruneImages: (dryRun: boolean) =>
    api.json<{ images: string[]; stored: string[] }>("POST", "/v1/images/prune", { json: { dryRun } }),
  webhookSecret: (rotate: boolean) =>
    rotate
      ? api.json<{ secret: string }>("POST", "/v1/webhooks/secret/rotate")
      : api.json<{ secret: string }>("GET", "/v1/webhooks/secret"),
  tokens: () => api.json<unknown>("GET", "/v1/tokens"),
  createToken: (name: string, options: Quota & { expiresInSeconds?: number } = {}) =>
    api.json<{ id: string; token: string }>("POST", "/v1/tokens", { json: { name, ...options } }),
  async revokeToken(id: string): Promise<void> {
    await api.send("DELETE", `/v1/tokens/${part(id)}`);
  },
});
