/** A whole fabric for tests, started by its own CLI in a folder of its own, with processes that can be killed. */
import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ownRepository } from "../../core/image-names.ts";
import { freePort, until } from "./redis.ts";

export const ROOT = fileURLToPath(new URL("../../", import.meta.url));
export type Child = "redis" | "s3" | "gateway" | "runner";

export interface CliResult {
  code: number;
  stdout: string;
  stderr: string;
}

export interface TestFabric {
  url: string;
  token: string;
  dataDir: string;
  /** For child processes: client settings and S3 credentials of this fabric. */
  env: NodeJS.ProcessEnv;
  cli(...args: string[]): Promise<CliResult>;
  /** Fails the test with the CLI's own words unless it exits 0; answers its JSON. */
  json<T>(...args: string[]): Promise<T>;
  fetch(path: string, init?: RequestInit): Promise<Response>;
  /** `POST /f/...`: the reply's status and parsed body. */
  call(
    fn: string,
    body?: unknown,
    headers?: Record<string, string>,
  ): Promise<{ status: number; body: any; headers: Headers }>;
  /** Starts a call without waiting; answers its id. */
  spawn(fn: string, body?: unknown): Promise<string>;
  /** The record once it has ended. */
  ended(id: string, deadlineMs?: number): Promise<any>;
  record(id: string): Promise<any>;
  pid(child: Child): Promise<number>;
  /** SIGKILL, and resolves when the supervisor has started another one and the gateway is ready. */
  kill9(child: Child): Promise<void>;
  /** Another runner, as another node of this fabric, until the fabric is closed; resolves when it is ready. */
  addNode(id: string, env: NodeJS.ProcessEnv): Promise<TestNode>;
  close(): Promise<void>;
}

export interface TestNode {
  id: string;
  /** SIGKILL: the node is lost. */
  kill9(): Promise<void>;
  /** SIGTERM, unless it has ended already. */
  close(): Promise<void>;
}

export async function startFabric(options: {
  engine: "docker" | "process";
  env?: NodeJS.ProcessEnv;
  /** Whose functions `call` and `spawn` name. */
  app?: string;
}): Promise<TestFabric> {
  const app = options.app ?? "probe";
  const home = await mkdtemp(join(tmpdir(), "fab-"));
  const dataDir = join(home, "d");
  const base: NodeJS.ProcessEnv = {
    ...process.env,
    FABRIC_DATA_DIR: dataDir,
    FABRIC_CONFIG: join(home, "config.json"),
    FABRIC_ENGINE: options.engine,
    FABRIC_PORT: String(await freePort()),
    FABRIC_REDIS_PORT: String(await freePort()),
    FABRIC_S3_PORT: String(await freePort()),
    FABRIC_URL: "",
    FABRIC_TOKEN: "",
    ...options.env,
  };
  const cli = (...args: string[]) => run(process.execPath, [join(ROOT, "bin/fabric.js"), ...args], base);
  const up = await cli("up", "--json");
  if (up.code !== 0) {
    await rm(home, { recursive: true, force: true });
    throw new Error(`fabric up failed (${up.code}):\n${up.stdout}\n${up.stderr}`);
  }
  const facts = JSON.parse(up.stdout) as { url: string; token: string; bucket: string; s3: Record<string, string> };
  const env = {
    ...base,
    FABRIC_URL: facts.url,
    FABRIC_TOKEN: facts.token,
    FABRIC_BUCKET: facts.bucket,
    AWS_ENDPOINT_URL: facts.s3.endpoint,
    AWS_ACCESS_KEY_ID: facts.s3.accessKeyId,
    AWS_SECRET_ACCESS_KEY: facts.s3.secretAccessKey,
    AWS_REGION: facts.s3.region,
    AWS_DEFAULT_REGION: facts.s3.region,
  };
  const request = (path: string, init: RequestInit = {}) =>
    fetch(facts.url + path, { ...init, headers: { authorization: `Bearer ${facts.token}`, ...init.headers } });
  const record = async (id: string) => (await request(`/v1/invocations/${id}`)).json() as Promise<any>;
  const pid = async (child: Child): Promise<number> => {
    const running = JSON.parse(await readFile(join(dataDir, "running.json"), "utf8"));
    return running.children[child].pid;
  };

  const nodes: TestNode[] = [];

  return {
    url: facts.url,
    token: facts.token,
    dataDir,
    env,
    cli,
    fetch: request,
    record,
    pid,
    async json<T>(...args: string[]) {
      const result = await cli(...args, "--json");
      if (result.code !== 0)
        throw new Error(`fabric ${args.join(" ")} (${result.code}):\n${result.stdout}${result.stderr}`);
      return JSON.parse(result.stdout) as T;
    },
    async call(fn, body, headers = {}) {
      const reply = await request(`/f/${app}/${fn}`, {
        method: "POST",
        body: body === undefined ? null : JSON.stringify(body),
        headers: { "content-type": "application/json", ...headers },
      });
      const text = await reply.text();
      return { status: reply.status, body: text === "" ? undefined : JSON.parse(text), headers: reply.headers };
    },
    async spawn(fn, body = {}) {
      const reply = await request(`/v1/apps/${app}/functions/${fn}/invocations`, {
        method: "POST",
        body: JSON.stringify(body),
        headers: { "content-type": "application/json", prefer: "respond-async" },
      });
      const { id, error } = (await reply.json()) as any;
      if (reply.status !== 202) throw new Error(`${reply.status}: ${JSON.stringify(error)}`);
      return id;
    },
    ended: (id, deadlineMs = 60_000) =>
      until(
        async () => {
          const now = await record(id).catch(() => undefined);
          return now && ["succeeded", "failed", "cancelled"].includes(now.state) ? now : undefined;
        },
        deadlineMs,
        `${id} ends`,
      ),
    async kill9(child) {
      const before = await pid(child);
      process.kill(before, "SIGKILL");
      await until(async () => (await pid(child).catch(() => before)) !== before, 30_000, `another ${child} runs`);
      await until(
        () =>
          request("/readyz").then(
            ({ ok }) => ok,
            () => false,
          ),
        30_000,
        "the fabric is ready",
      );
    },
    async addNode(node, more) {
      // As the supervisor gives it to its own runner.
      const given = (await readFile(`/proc/${await pid("runner")}/environ`, "utf8")).split("\0").filter(Boolean);
      const env = Object.fromEntries(
        given.map((one) => [one.slice(0, one.indexOf("=")), one.slice(one.indexOf("=") + 1)]),
      );
      const own = { FABRIC_NODE_ID: node, FABRIC_DATA_DIR: join(home, node) };
      const added = await startNode(node, { ...env, ...own, ...more });
      nodes.push(added);
      return added;
    },
    async close() {
      await Promise.all(nodes.map((one) => one.close()));
      const { fabricId } = JSON.parse(await readFile(join(dataDir, "state.json"), "utf8")) as { fabricId: string };
      const down = await cli("down");
      if (options.engine === "docker" && !base.DOCKER_HOST) await giveUpImages(fabricId);
      await rm(home, { recursive: true, force: true });
      if (down.code !== 0) throw new Error(`fabric down failed (${down.code}): ${down.stdout}${down.stderr}`);
    },
  };
}

/** The images themselves stay, under the name that all fabrics share: the next test need not build them. */
async function giveUpImages(fabricId: string): Promise<void> {
  const { stdout } = await run("docker", ["image", "ls", "--format", "{{.Repository}}:{{.Tag}}"], process.env);
  const names = stdout.split("\n").filter((name) => name.startsWith(`${ownRepository(fabricId)}:`));
  if (names.length > 0) await run("docker", ["rmi", ...names], process.env);
}

async function startNode(id: string, env: NodeJS.ProcessEnv): Promise<TestNode> {
  const child = spawn(process.execPath, [join(ROOT, "dist/runner.js")], {
    ...{ env, cwd: ROOT },
    stdio: ["ignore", "pipe", "ignore"],
  });
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  const end = (signal: NodeJS.Signals) => async (): Promise<void> => {
    child.kill(signal);
    await ended;
  };
  let said = "";
  child.stdout.on("data", (data) => {
    said += data;
  });
  const isReady = (): boolean => said.split("\n").some((line) => line.startsWith('{"ready":true'));
  await until(
    async () => {
      if (child.exitCode !== null) throw new Error(`the runner of ${id} ended with ${child.exitCode}: ${said}`);
      return isReady() ? true : undefined;
    },
    60_000,
    `the runner of ${id} is ready`,
  );
  return { id, kill9: end("SIGKILL"), close: end("SIGTERM") };
}

export function run(command: string, args: string[], env: NodeJS.ProcessEnv, cwd = ROOT): Promise<CliResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { env, cwd, stdio: ["ignore", "pipe", "pipe"] });
    let stdout = "";
    let stderr = "";
    child.stdout.on("data", (data) => {
      stdout += data;
    });
    child.stderr.on("data", (data) => {
      stderr += data;
    });
    child.on("error", reject);
    child.on("close", (code, signal) => resolve({ code: code ?? (signal ? 1 : 0), stdout, stderr }));
  });
}
