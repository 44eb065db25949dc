/** A Docker daemon of a test's own, in network and mount namespaces of its own, that may be killed and stopped. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { openSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { run } from "./fabric.ts";
import { until } from "./redis.ts";
import { killIfThere, processesWhose } from "./runner.ts";

export interface TestDockerd {
  /** As DOCKER_HOST. */
  host: string;
  /** Runs a command in its network namespace. */
  inNetwork(...command: string[]): Promise<void>;
  /** Of a process in its network namespace. */
  pid: number;
  docker(...args: string[]): Promise<string>;
  /** SIGKILL to the daemon: its containers live on. */
  kill(): Promise<void>;
  /** SIGTERM, as its service manager does: without live-restore its containers end. */
  stop(): Promise<void>;
  start(options?: { liveRestore: boolean }): Promise<void>;
  close(): Promise<void>;
}

/** Why there cannot be one here, or undefined. */
export async function whyNoDockerd(): Promise<string | undefined> {
  if (process.getuid?.() !== 0) return "a daemon of its own needs root";
  const unshared = await run("unshare", ["-n", "-m", "true"], process.env).catch((error: Error) => error);
  if (unshared instanceof Error || unshared.code !== 0) return "no namespaces may be made here";
  const found = await run("dockerd", ["--version"], process.env).catch(() => undefined);
  return found?.code === 0 ? undefined : "there is no dockerd here";
}

/** `images`: taken over from the machine's own daemon. */
export async function startDockerd(images: string[], first = { liveRestore: true }): Promise<TestDockerd> {
  const dir = await mkdtemp(join(tmpdir(), "fab-dockerd-"));
  const host = `unix://${dir}/docker.sock`;
  // What a daemon mounts must be there for the next one.
  const namespaces = spawn("unshare", ["-n", "-m", "sleep", "infinity"], { stdio: "ignore" });
  await once(namespaces, "spawn");
  const inside = (command: string[]) => ["-t", String(namespaces.pid), "-n", "-m", ...command];
  const docker = async (...args: string[]): Promise<string> => {
    const { code, stdout, stderr } = await run("docker", ["-H", host, ...args], process.env);
    if (code !== 0) throw new Error(`docker ${args.join(" ")}: ${stderr}`);
    return stdout.trim();
  };
  let daemon: ChildProcess;
  const isOver = () => daemon.exitCode !== null || daemon.signalCode !== null;
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    if (isOver()) return;
    const exited = once(daemon, "exit");
    daemon.kill(signal);
    await exited;
  };
  const start = async ({ liveRestore } = first): Promise<void> => {
    const flags = ["--data-root", `${dir}/data`, "--exec-root", `${dir}/exec`, "-p", `${dir}/pid`, "-H", host];
    const log = openSync(`${dir}/log`, "a");
    // Its containerd dies with it when it is killed; where nobody reaps that one, the next daemon would wait for it.
    for (const stale of ["pid", "exec/containerd/containerd.pid"]) await rm(join(dir, stale), { force: true });
    daemon = spawn("nsenter", inside(["dockerd", ...flags, ...(liveRestore ? ["--live-restore"] : [])]), {
      stdio: ["ignore", log, log],
    });
    const answers = () => docker("version").then(Boolean, () => false);
    await until(async () => isOver() || (await answers()), 60_000, "dockerd answers");
    if (isOver()) throw new Error(`dockerd ended: ${(await readFile(`${dir}/log`, "utf8")).slice(-2_000)}`);
  };
  const close = async (): Promise<void> => {
    if (isOver()) await start();
    const left = await docker("ps", "-aq");
    if (left !== "") await docker("rm", "-f", ...left.split("\n"));
    await end("SIGTERM");
    // The shims of containers that outlived a daemon may outlive the containers, too.
    for (const pid of await processesWhose("cmdline", (text) => text.includes(dir))) killIfThere(pid);
    const gone = once(namespaces, "exit");
    namespaces.kill("SIGKILL");
    await gone;
    await rm(dir, { recursive: true, force: true });
  };
  try {
    await start();
    for (const image of images) {
      const copied = `docker save "$1" | docker -H "$2" load`;
      const { code, stderr } = await run("sh", ["-c", copied, "sh", image, host], process.env);
      if (code !== 0) throw new Error(`${image} was not loaded: ${stderr}`);
    }
  } catch (thrown) {
    await close();
    throw thrown;
  }
  const inNetwork = async (...command: string[]): Promise<void> => {
    const { code, stderr } = await run("nsenter", ["-t", String(namespaces.pid), "-n", ...command], process.env);
    if (code !== 0) throw new Error(`${command.join(" ")}: ${stderr}`);
  };
  return {
    host,
    inNetwork,
    pid: namespaces.pid!,
    docker,
    kill: () => end("SIGKILL"),
    stop: () => end("SIGTERM"),
    start,
    close,
  };
}
