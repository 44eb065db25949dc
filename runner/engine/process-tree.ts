/** Which processes belong to a process container, and ending them. */
import { readdir, readFile } from "node:fs/promises";

/** A process is known by its pid and the time it started: pids are reused, and not only after a reboot. */
export interface ProcessIdentity {
  pid: number;
  /** Clock ticks since boot; empty where there is no /proc. */
  startTime: string;
}

/** In the environment of everything a container starts, also of what left its process group. */
export const MARKER = "FABRIC_CONTAINER";

const GONE = new Set(["ENOENT", "ESRCH", "EACCES", "EPERM"]);

/** Processes end while they are looked at. */
async function readProc(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "latin1");
  } catch (error) {
    if (GONE.has((error as NodeJS.ErrnoException).code ?? "")) return undefined;
    throw error;
  }
}

const hasProc = process.platform === "linux";

/** Sends a signal; false when nobody of ours is there to get it. */
export function signalTo(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    process.kill(pid, signal);
    return true;
  } catch (error) {
    if (GONE.has((error as NodeJS.ErrnoException).code ?? "")) return false;
    throw error;
  }
}

export async function isAlive({ pid, startTime }: ProcessIdentity): Promise<boolean> {
  if (!hasProc) return signalTo(pid, 0);
  const stat = await readProc(`/proc/${pid}/stat`);
  if (!stat) return false;
  // The name in parentheses may hold anything; fields count from behind it: state is the first, start time the 20th.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return fields[0] !== "Z" && fields[19] === startTime;
}

async function marked(id: string): Promise<number[]> {
  if (!hasProc) return [];
  const found: number[] = [];
  for (const name of await readdir("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const environment = await readProc(`/proc/${name}/environ`);
    if (environment?.split("\0").includes(`${MARKER}=${id}`)) found.push(Number(name));
  }
  return found.filter((pid) => pid !== process.pid);
}

/** A process that forks while it is being killed is found in a later round; one that does so for ever is not ours to chase. */
const ROUNDS = 20;

/** SIGKILL for the group, then for what left the group. */
export async function killTree(id: string, leader: ProcessIdentity | undefined): Promise<void> {
  if (leader && (await isAlive(leader))) signalTo(-leader.pid, "SIGKILL");
  for (let round = 0; round < ROUNDS; round++) {
    const left = await marked(id);
    if (left.length === 0) return;
    for (const pid of left) signalTo(pid, "SIGKILL");
  }
}
