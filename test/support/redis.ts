/** A real redis-server for tests: a child on a free port that can be killed, hung and started again on the same data. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { type AddressInfo, createConnection, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface TestRedis {
  url: string;
  port: number;
  /** Holds the append-only file. */
  dir: string;
  /** SIGKILL, SIGSTOP, SIGCONT: what faults are made of. */
  signal(name: NodeJS.Signals): void;
  /** Starts again after a kill; resolves when it answers. */
  start(): Promise<void>;
  /** Kills and resolves when it is gone. */
  kill(): Promise<void>;
  close(): Promise<void>;
}

/**
 * `dir`: where its files go; a folder of its own, removed at the end, when absent. `fsync`: with `everysec` Redis holds its
 * writes back for up to two seconds while the disk is busy, so that a kill may lose them; tests of kills want none lost.
 */
export async function startRedis(
  options: { appendonly?: boolean; fsync?: "always" | "everysec"; dir?: string } = {},
): Promise<TestRedis> {
  const dir = options.dir ?? (await mkdtemp(join(tmpdir(), "fabric-redis-")));
  const port = await freePort();
  let child: ChildProcess | undefined;
  const start = async () => {
    const flags = { port, bind: "127.0.0.1", dir, save: "", appendonly: options.appendonly ? "yes" : "no" };
    const fsync = options.fsync ?? "always";
    const args = Object.entries({ ...flags, appendfsync: fsync, "maxmemory-policy": "noeviction", maxmemory: "256mb" });
    child = spawn(
      "redis-server",
      args.flatMap(([name, value]) => [`--${name}`, String(value)]),
      { stdio: "ignore" },
    );
    child.on("error", (error) => {
      throw error;
    });
    await until(() => answersPing(port), 10_000, "redis-server answers");
  };
  const kill = async () => {
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, "exit");
    child.kill("SIGKILL");
    await exited;
  };
  await start();
  return {
    url: `redis://127.0.0.1:${port}`,
    port,
    dir,
    signal: (name) => void child?.kill(name),
    start,
    kill,
    async close() {
      await kill();
      if (options.dir === undefined) await rm(dir, { recursive: true, force: true });
    },
  };
}

/** Polls a condition until it holds; tests wait for states, never for time. */
export async function until<T>(
  condition: () => Promise<T | false | undefined> | T | false | undefined,
  deadlineMs: number,
  what: string,
): Promise<T> {
  const end = performance.now() + deadlineMs;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (performance.now() > end) throw new Error(`not within ${deadlineMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

export async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

function answersPing(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(port, "127.0.0.1", () => socket.write("PING\r\n"));
    socket.setTimeout(500, () => socket.destroy());
    socket.on("data", (data) => {
      socket.destroy();
      resolve(data.toString().startsWith("+PONG"));
    });
    socket.on("error", () => resolve(false));
    socket.on("close", () => resolve(false));
  });
}
