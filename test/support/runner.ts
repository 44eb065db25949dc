/** One more runner of a fabric, as on another machine: nobody restarts it when it dies. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { cp, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestFabric } from "./fabric.ts";
import { until } from "./redis.ts";

export interface ExtraRunner {
  node: string;
  signal(name: NodeJS.Signals): void;
  /** SIGKILL; its containers live on. */
  kill(): Promise<void>;
  /** SIGTERM: resolves when it has drained. */
  stop(): Promise<void>;
  /** Again, after it ended: the same node comes back. */
  start(): Promise<void>;
  /** Leaves no container. */
  close(): Promise<void>;
}

/** Told what the supervisor told its own runner, except for node, folder and what is given. */
export async function startExtraRunner(
  fabric: TestFabric,
  node: string,
  changed: NodeJS.ProcessEnv = {},
): Promise<ExtraRunner> {
  const pid = await fabric.pid("runner");
  const parts = async (name: string) => (await readFile(`/proc/${pid}/${name}`, "utf8")).split("\0").filter(Boolean);
  const [command = "", ...args] = await parts("cmdline");
  const dataDir = await mkdtemp(join(tmpdir(), "fab-node-"));
  const own = { FABRIC_NODE_ID: node, FABRIC_DATA_DIR: dataDir, ...changed };
  const env = { ...Object.fromEntries((await parts("environ")).map(pair)), ...own };
  // What packages it needs there it would only install once more.
  await cp(join(fabric.dataDir, "sdk"), join(dataDir, "sdk"), { recursive: true });
  let child: ChildProcess;
  const isOver = () => child.exitCode !== null || child.signalCode !== null;
  const end = async (signal: NodeJS.Signals) => {
    if (isOver()) return;
    const exited = once(child, "exit");
    child.kill(signal);
    await exited;
  };
  const start = async () => {
    child = spawn(command, args, { env, stdio: ["ignore", "pipe", "ignore"] });
    let said = "";
    child.stdout!.on("data", (data) => {
      said += data;
    });
    await until(() => said.includes('"ready":true') || isOver(), 60_000, `runner ${node} is ready`);
    if (isOver()) throw new Error(`runner ${node} ended at once: ${said}`);
  };
  await start();
  return {
    node,
    signal: (name) => void child.kill(name),
    kill: () => end("SIGKILL"),
    stop: () => end("SIGTERM"),
    start,
    async close() {
      child.kill("SIGCONT");
      if (child.signalCode === "SIGKILL") await start(); // it clears away what it left
      await end("SIGTERM");
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

const pair = (text: string): [string, string] => {
  const at = text.indexOf("=");
  return [text.slice(0, at), text.slice(at + 1)];
};

/** Processes with this in their environment, e.g. those of a container of the process engine. */
export const processesWith = (variable: string): Promise<number[]> =>
  processesWhose("environ", (text) => text.split("\0").includes(variable));

export async function processesWhose(
  file: "environ" | "cmdline",
  matches: (text: string) => boolean,
): Promise<number[]> {
  const found: number[] = [];
  for (const name of await readdir("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const text = await readFile(`/proc/${name}/${file}`, "latin1").catch(() => ""); // it ended meanwhile
    if (matches(text)) found.push(Number(name));
  }
  return found;
}

/** It may have ended by itself since it was found. */
export function killIfThere(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== "ESRCH") throw thrown;
  }
}
