/** One process owns a store's directory: two would each hold half of the index and both give the same key away. */
import { randomBytes } from "node:crypto";
import { link, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { codeOf } from "./disk.ts";

/** Returns what gives the directory back. A lock whose process is gone, also by kill -9 or power loss, is taken over. */
export async function lockDir(dir: string): Promise<() => Promise<void>> {
  const path = join(dir, "lock");
  const mine = `${path}.${randomBytes(6).toString("hex")}`;
  await writeFile(mine, JSON.stringify({ pid: process.pid, start: await startOf(process.pid), boot: await bootId() }));
  try {
    // Two starters may both find a dead owner; each round one of them wins, and the loser then meets the winner.
    for (let round = 0; round < 5; round++) {
      if (await linked(mine, path)) return () => rm(path, { force: true });
      const found = await textOf(path);
      if (found === undefined) continue;
      if (await alive(found))
        throw new Error(`${dir} is in use by process ${parse(found)?.pid}; two endpoints cannot share a directory`);
      await takeAway(path, found);
    }
    throw new Error(`${dir}: the lock file changes hands all the time; remove ${path} if no endpoint runs`);
  } finally {
    await rm(mine, { force: true });
  }
}

async function linked(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to);
    return true;
  } catch (error) {
    if (codeOf(error) === "EEXIST") return false;
    throw error;
  }
}

/** Renamed away and looked at again: between reading and removing, another starter may have put its own lock there. */
async function takeAway(path: string, expected: string): Promise<void> {
  const aside = `${path}.stale-${randomBytes(6).toString("hex")}`;
  try {
    await rename(path, aside);
  } catch (error) {
    if (codeOf(error) === "ENOENT") return;
    throw error;
  }
  if ((await textOf(aside)) !== expected) await linked(aside, path);
  await rm(aside, { force: true });
}

async function alive(lock: string): Promise<boolean> {
  const owner = parse(lock);
  if (!owner || owner.boot !== (await bootId())) return false;
  try {
    process.kill(owner.pid, 0);
  } catch (error) {
    if (codeOf(error) === "ESRCH") return false;
  }
  return owner.start === (await startOf(owner.pid));
}

function parse(lock: string): { pid: number; start: string; boot: string } | undefined {
  const match = /^\{"pid":(\d+),"start":"([^"]*)","boot":"([^"]*)"\}$/.exec(lock);
  return match ? { pid: Number(match[1]), start: match[2]!, boot: match[3]! } : undefined;
}

/** When a process started, in ticks since boot: a process id alone is soon somebody else's. Empty where there is no /proc. */
async function startOf(pid: number): Promise<string> {
  const stat = await textOf(`/proc/${pid}/stat`);
  return stat?.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? "";
}

const bootId = async (): Promise<string> => (await textOf("/proc/sys/kernel/random/boot_id"))?.trim() ?? "";

async function textOf(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if (codeOf(error) === "ENOENT" || codeOf(error) === "ESRCH") return undefined;
    throw error;
  }
}
