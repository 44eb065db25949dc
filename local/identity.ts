/** Which process a number means: process ids are reused, so a recorded one counts only with the moment it started. */
import { readFileSync } from "node:fs";
import { hasCode } from "./failure.ts";

export interface Identity {
  pid: number;
  /** The kernel's start tick of the process, where /proc tells it. */
  started?: string;
}

export function identify(pid: number): Identity {
  const started = startTick(pid);
  return started === undefined ? { pid } : { pid, started };
}

export function isAlive(identity: Identity): boolean {
  if (!exists(identity.pid)) return false;
  const started = startTick(identity.pid);
  return identity.started === undefined || started === undefined ? started !== "" : started === identity.started;
}

export function signalProcess(identity: Identity, signal: NodeJS.Signals): void {
  if (!isAlive(identity)) return;
  try {
    process.kill(identity.pid, signal);
  } catch (error) {
    if (!hasCode(error, "ESRCH")) throw error;
  }
}

function exists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return hasCode(error, "EPERM");
  }
}

/** Field 22 of /proc/PID/stat; "" for a zombie, which has ended although its number is still taken. */
function startTick(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return fields[0] === "Z" ? "" : fields[19];
  } catch (error) {
    if (hasCode(error, "ENOENT", "ESRCH")) return undefined;
    throw error;
  }
}
