/** A typed client of fabric's HTTP API: what the command line uses, and any TypeScript program can. */
import type { CheckpointManifest } from "../../core/checkpoint.ts";
import type { ErrorBody } from "../../core/errors.ts";
import type { InvocationState } from "../../core/invocation.ts";
import type { Deployment } from "../../core/spec.ts";
import { type Connection, fromBody, type Http, http } from "./http.ts";

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
  text: string;
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

export interface CallOptions {
  version?: string;
  /** Seconds to wait for the outcome; 0: only accept. */
  waitSeconds?: number;
  idempotencyKey?: string;
  signal?: AbortSignal;
}

const part = encodeURIComponent;

/** A request waits this long at most: HTTP clients and proxies between give up on longer silences. */
const WAIT_SECONDS = 60;
const prefer = (seconds: number): string =>
  seconds <= 0 ? "respond-async" : `wait=${Math.min(Math.ceil(seconds), WAIT_SECONDS)}`;

export function createClient(connection: Connection) {
  const api = http(connection);
  return { http: api, ...appCalls(api), ...invocationCalls(api), ...checkpointCalls(api), ...operatorCalls(api) };
}
export type Client = ReturnType<typeof createClient>;

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
  logs: (
    app: string,
    query: { follow?: boolean; function?: string; invocation?: string; tail?: number },
    signal?: AbortSignal,
  ) => api.lines<LogEntry>("GET", `/v1/apps/${part(app)}/logs`, { query, signal }),
});

const invocationCalls = (api: Http) => ({
  /** `body` is JSON text: an object of named arguments or an array of positional ones. */
  async invoke(app: string, fn: string, body: string, options: CallOptions = {}): Promise<Answer> {
    const response = await api.send("POST", `/v1/apps/${part(app)}/functions/${part(fn)}/invocations`, {
      body,
      query: { version: options.version },
      headers: {
        "content-type": "application/json",
        prefer: prefer(options.waitSeconds ?? WAIT_SECONDS),
        ...(options.idempotencyKey ? { "idempotency-key": options.idempotencyKey } : {}),
      },
      signal: options.signal,
    });
    return readAnswer(response);
  },
  async result(id: string, waitSeconds = 0, signal?: AbortSignal): Promise<Answer> {
    const headers = { prefer: waitSeconds <= 0 ? "wait=0" : prefer(waitSeconds) };
    return readAnswer(await api.send("GET", `/v1/invocations/${part(id)}/result`, { headers, signal }));
  },
  invocation: (id: string) => api.json<Record<string, unknown>>("GET", `/v1/invocations/${part(id)}`),
  invocations: (query: { app?: string; function?: string; limit?: number }) =>
    api.json<unknown>("GET", "/v1/invocations", { query }),
  cancel: (id: string) => api.json<Pending>("POST", `/v1/invocations/${part(id)}/cancel`),
});

async function readAnswer(response: Response): Promise<Answer> {
  const body = (await response.json()) as Answer & { error?: ErrorBody };
  if (body.error) throw fromBody(body.error);
  return body;
}

const checkpointCalls = (api: Http) => ({
  series: () => api.json<unknown>("GET", "/v1/checkpoints"),
  checkpoints: async (series: string): Promise<CheckpointManifest[]> =>
    (await api.json<{ checkpoints: CheckpointManifest[] }>("GET", `/v1/checkpoints/${part(series)}`)).checkpoints,
  checkpoint: (series: string, step: string) =>
    api.json<CheckpointManifest>("GET", `/v1/checkpoints/${part(series)}/${part(step)}`),
  checkpointFile: (series: string, step: number, path: string, signal?: AbortSignal) =>
    api.send("GET", `/v1/checkpoints/${part(series)}/${step}/files/${path.split("/").map(part).join("/")}`, { signal }),
});

const operatorCalls = (api: Http) => ({
  nodes: () => api.json<unknown>("GET", "/v1/nodes"),
  containers: () => api.json<unknown>("GET", "/v1/containers"),
  tokens: () => api.json<unknown>("GET", "/v1/tokens"),
  createToken: (name: string, expiresInSeconds?: number) =>
    api.json<{ id: string; token: string }>("POST", "/v1/tokens", { json: { name, expiresInSeconds } }),
  async revokeToken(id: string): Promise<void> {
    await api.send("DELETE", `/v1/tokens/${part(id)}`);
  },
});

/** Waits until the call ends, however long, asking again whenever the gateway answers "not yet". */
export async function untilEnded(
  client: Client,
  first: Answer,
  waitSeconds: number,
  onPending: (pending: Pending) => void,
  signal?: AbortSignal,
): Promise<Answer> {
  const deadline = performance.now() + waitSeconds * 1000;
  let answer = first;
  while (!("result" in answer)) {
    onPending(answer);
    const left = (deadline - performance.now()) / 1000;
    if (left <= 0) return answer;
    answer = await client.result(answer.id, left, signal);
  }
  return answer;
}
