/** The engine without isolation: function containers are child processes of their own, for laptops without Docker. */
import { spawn } from "node:child_process";
import { watch } from "node:fs";
import { access, constants, mkdir, open, readdir, readFile } from "node:fs/promises";
import { release } from "node:os";
import { isAbsolute, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { ContainerEngine, ContainerExit, ContainerSpec, ContainerStatus } from "../../core/engine.ts";
import { FabricError, fail } from "../../core/errors.ts";
import { processMeets } from "../meeting.ts";
import { boundLog, forget, identityIn, keep, keptIn, logEnd, logFile, standingOf } from "./process-state.ts";
import { killTree, MARKER, type ProcessIdentity, signalTo } from "./process-tree.ts";
import { WRAPPER } from "./process-wrapper.ts";

export interface ProcessEngineOptions {
  /** The state folder of this node's containers is made below it. */
  dataDir: string;
  /** At which ranks on other machines reach those of this one. */
  address?: string;
  /** Of a container's own stdout and stderr. */
  maxLogBytes?: number;
}

const SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin";
/** Whether the process is there at all is seen at once; whether it is still the same one, less often. */
const LOOK_MS = 200;
const LOOKS_AT_PID = 10;
const BOUND_LOGS_MS = 2_000;
const START_MS = 10_000;
const KILLED: ContainerExit = { code: 137, outOfMemory: false };

export const PROCESS_NOTICES = [
  "The process engine does not isolate: functions run as this user and can read its files and reach its network. Use it with code you trust.",
  "It does not enforce cpu limits or network 'none'; a memory limit bounds address space (RLIMIT_AS), per process.",
  "Images are virtual environments: apt packages cannot be installed.",
];

const runnable = (path: string): Promise<boolean> =>
  access(path, constants.X_OK).then(
    () => true,
    () => false,
  );

/** Where a program of that name is, looked for as exec would. */
async function programAt(name: string, path: string): Promise<string> {
  const candidates = isAbsolute(name) ? [name] : path.split(":").map((folder) => join(folder, name));
  for (const candidate of candidates) if (await runnable(candidate)) return candidate;
  return fail("container_start_failed", `There is no program ${name} on the image's PATH.`);
}

/** Variables of the image's own, as the builder left them beside the interpreter. */
async function imageVariables(image: string): Promise<Record<string, string>> {
  if (!(await runnable(join(image, "bin", "python"))))
    fail(
      "image_missing",
      `${image} holds no environment. Deploy again; on another machine than the gateway's, share that folder: the process engine's environments do not travel.`,
      { image },
    );
  try {
    return JSON.parse(await readFile(join(image, "variables.json"), "utf8")) as Record<string, string>;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return {};
    throw error;
  }
}

/** Aborts its signal when something in the folder changes; one that is gone changed already. */
function watchFolder(folder: string): { signal: AbortSignal; close(): void } {
  const change = new AbortController();
  try {
    const watcher = watch(folder, () => change.abort()).on("error", () => change.abort());
    return { signal: change.signal, close: () => watcher.close() };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    change.abort();
    return { signal: change.signal, close() {} };
  }
}

/** Costs next to nothing for many containers that are idle: no file is read. */
async function whileItSeemsAlive(identity: ProcessIdentity | undefined, signal: AbortSignal): Promise<void> {
  for (let looks = 0; looks < LOOKS_AT_PID; looks++) {
    await delay(LOOK_MS, undefined, { signal });
    if (!identity || !signalTo(identity.pid, 0)) return;
  }
}

/** Nothing of the runner's own environment: it may hold keys. */
function environmentOf(spec: ContainerSpec, variables: Record<string, string>): Record<string, string> {
  return {
    PATH: `${spec.image}/bin:${SYSTEM_PATH}`,
    LANG: "C.UTF-8",
    VIRTUAL_ENV: spec.image,
    ...variables,
    HOME: spec.scratchDir,
    TMPDIR: spec.scratchDir,
    ...(spec.gpus.length > 0 ? { CUDA_VISIBLE_DEVICES: spec.gpus.join(",") } : {}),
    ...spec.env,
    [MARKER]: spec.id,
  };
}

export function processEngine(options: ProcessEngineOptions): ContainerEngine {
  const root = join(options.dataDir, "processes");
  const maxLogBytes = options.maxLogBytes ?? 1024 * 1024;
  let bounding: NodeJS.Timeout | undefined;
  let logTrouble: unknown;

  const folderOf = (id: string): string => {
    if (!/^[A-Za-z0-9_-]+$/.test(id)) fail("container_start_failed", `${id} is not a container id.`);
    return join(root, id);
  };

  async function start(spec: ContainerSpec): Promise<void> {
    if (logTrouble !== undefined) {
      const reason = logTrouble instanceof Error ? logTrouble.message : String(logTrouble);
      logTrouble = undefined;
      fail("container_start_failed", `The logs of containers cannot be bounded: ${reason}`);
    }
    const folder = folderOf(spec.id);
    const env = environmentOf(spec, await imageVariables(spec.image));
    const [name, ...args] = spec.command;
    const program = await programAt(name ?? "", env.PATH!);
    await mkdir(root, { recursive: true, mode: 0o700 });
    await keep(folder, { id: spec.id, labels: spec.labels });
    try {
      await spawnWrapped(folder, spec, [program, ...args], env);
    } catch (thrown) {
      await killTree(spec.id, await identityIn(folder));
      await forget(folder);
      if (thrown instanceof FabricError) throw thrown;
      const reason = thrown instanceof Error ? thrown.message : String(thrown);
      throw new FabricError("container_start_failed", `The process could not be started: ${reason}`, undefined, {
        cause: thrown,
      });
    }
  }

  async function spawnWrapped(
    folder: string,
    spec: ContainerSpec,
    command: string[],
    env: Record<string, string>,
  ): Promise<void> {
    const limit = spec.memoryLimitBytes ? String(Math.ceil(spec.memoryLimitBytes / 1024)) : "";
    const log = await open(logFile(folder), "a", 0o600);
    try {
      const child = spawn("/bin/sh", ["-c", WRAPPER, "fabric", folder, limit, ...command], {
        cwd: spec.scratchDir,
        env,
        detached: true, // a session of its own: it outlives the runner and can be signalled as a group
        stdio: ["ignore", log.fd, log.fd],
      });
      await new Promise((resolve, reject) => child.once("spawn", resolve).once("error", reject));
      child.unref();
    } finally {
      await log.close();
    }
    const deadline = performance.now() + START_MS;
    while (!(await identityIn(folder))) {
      if (performance.now() > deadline) fail("container_start_failed", "The process did not come up.");
      await delay(2);
    }
  }

  /** Until it has ended; looks when its folder changes, and now and then for a wrapper that was killed. */
  async function wait(id: string, signal?: AbortSignal): Promise<ContainerExit | undefined> {
    const folder = folderOf(id);
    signal?.throwIfAborted();
    if (!(await standingOf(folder))) return undefined;
    for (;;) {
      const change = watchFolder(folder);
      try {
        const standing = await standingOf(folder);
        // Removed while we waited, which is a kill.
        if (!standing) return KILLED;
        if (standing.state === "exited") return standing.exit;
        const wake = AbortSignal.any([change.signal, ...(signal ? [signal] : [])]);
        await whileItSeemsAlive(await identityIn(folder), wake).catch((thrown: unknown) => {
          if (!change.signal.aborted) throw thrown;
        });
      } finally {
        change.close();
      }
      signal?.throwIfAborted();
    }
  }

  async function kill(id: string): Promise<void> {
    const folder = folderOf(id);
    await killTree(id, await identityIn(folder));
    await wait(id);
  }

  async function stop(id: string, graceMs: number): Promise<void> {
    const standing = await standingOf(folderOf(id));
    if (standing?.state !== "running") return;
    const identity = await identityIn(folderOf(id));
    if (identity && graceMs > 0 && signalTo(-identity.pid, "SIGTERM")) {
      const grace = AbortSignal.timeout(graceMs);
      const exit = await wait(id, grace).catch((thrown: unknown) => {
        if (!grace.aborted) throw thrown;
        return undefined;
      });
      if (exit) return;
    }
    await kill(id);
  }

  async function remove(id: string): Promise<void> {
    const folder = folderOf(id);
    if (!(await standingOf(folder))) return;
    await kill(id);
    await forget(folder);
  }

  async function list(labels: Record<string, string>): Promise<ContainerStatus[]> {
    await mkdir(root, { recursive: true, mode: 0o700 });
    const found: ContainerStatus[] = [];
    for (const name of await readdir(root)) {
      const folder = join(root, name);
      const kept = await keptIn(folder);
      const standing = kept && (await standingOf(folder));
      if (!kept || !standing) continue;
      if (Object.entries(labels).every(([label, value]) => kept.labels[label] === value))
        found.push({ ...kept, ...standing });
    }
    return found;
  }

  async function boundLogs(): Promise<void> {
    try {
      for (const name of await readdir(root)) await boundLog(join(root, name), maxLogBytes);
    } catch (thrown) {
      // A folder removed while it was looked at is no trouble; anything else the next start tells.
      if ((thrown as NodeJS.ErrnoException).code !== "ENOENT") logTrouble = thrown;
    }
  }

  return {
    name: "process",
    async prepare() {
      await mkdir(root, { recursive: true, mode: 0o700 });
      bounding ??= setInterval(() => void boundLogs(), BOUND_LOGS_MS).unref();
      const meets = await processMeets(options.address ?? "");
      return { engine: "process", version: `${process.platform} ${release()}`, notices: PROCESS_NOTICES, meets };
    },
    paths: ({ socketDir, bundleDir, sdkDir, scratchDir }) => ({
      socket: socketDir,
      bundle: bundleDir,
      sdk: sdkDir,
      scratch: scratchDir,
    }),
    start,
    wait,
    stop,
    remove,
    list,
    tail: (id, maxBytes) => logEnd(folderOf(id), maxBytes),
    addressOf: async () => "127.0.0.1",
    async spanGang() {},
    endGang: async () => true,
    async close() {
      clearInterval(bounding);
      bounding = undefined;
    },
  };
}
