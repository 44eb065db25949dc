/** What the process engine keeps on disk about one container, so that another runner can go on with it. */
import { mkdir, open, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { ContainerExit } from "../../core/engine.ts";
import { fail } from "../../core/errors.ts";
import { lastBytes } from "./docker-logs.ts";
import { isAlive, type ProcessIdentity } from "./process-tree.ts";

export interface Kept {
  id: string;
  labels: Record<string, string>;
}

export type Standing = { state: "running" } | { state: "exited"; exit: ContainerExit };

/** How long a wrapper may take to write its pid before it counts as never started. */
const STARTING_MS = 10_000;
const KILLED: ContainerExit = { code: 137, outOfMemory: false };

async function textOf(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

export async function keep(folder: string, kept: Kept): Promise<void> {
  try {
    await mkdir(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    fail("container_start_failed", `There is a container ${kept.id} already.`);
  }
  await writeFile(join(folder, "container.json"), JSON.stringify(kept));
}

/** `undefined`: no such container, or one that is being made or removed just now. */
export async function keptIn(folder: string): Promise<Kept | undefined> {
  const text = await textOf(join(folder, "container.json"));
  return text ? (JSON.parse(text) as Kept) : undefined;
}

export async function identityIn(folder: string): Promise<ProcessIdentity | undefined> {
  const written = /^(\d+) (\d*)\n$/.exec((await textOf(join(folder, "pid"))) ?? "");
  return written ? { pid: Number(written[1]), startTime: written[2]! } : undefined;
}

async function exitIn(folder: string): Promise<ContainerExit | undefined> {
  const written = await textOf(join(folder, "exit"));
  return written === undefined ? undefined : { code: Number(written), outOfMemory: false };
}

/** `undefined`: no such container. */
export async function standingOf(folder: string): Promise<Standing | undefined> {
  const kept = await stat(join(folder, "container.json")).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw error;
  });
  if (!kept) return undefined;
  const identity = await identityIn(folder);
  const alive = identity ? await isAlive(identity) : Date.now() - kept.mtimeMs < STARTING_MS;
  // Read last: a wrapper writes the exit before it ends, so "not alive and no exit" is final.
  const exit = await exitIn(folder);
  if (exit) return { state: "exited", exit };
  // A wrapper without a last word was killed together with its process.
  return alive ? { state: "running" } : { state: "exited", exit: KILLED };
}

export const logFile = (folder: string): string => join(folder, "log");
const olderLogFile = (folder: string): string => join(folder, "log.old");

async function endOf(path: string, maxBytes: number): Promise<Buffer> {
  let file: Awaited<ReturnType<typeof open>>;
  try {
    file = await open(path, "r");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return Buffer.alloc(0);
    throw error;
  }
  try {
    const { size } = await file.stat();
    const buffer = Buffer.alloc(Math.min(size, maxBytes));
    const { bytesRead } = await file.read(buffer, 0, buffer.length, size - buffer.length);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

export async function logEnd(folder: string, maxBytes: number): Promise<string> {
  const parts = [await endOf(olderLogFile(folder), maxBytes), await endOf(logFile(folder), maxBytes)];
  return lastBytes(Buffer.concat(parts), maxBytes);
}

/** A log over the limit is cut to nothing after its end was set aside; its writer appends, so it goes on at the start. */
export async function boundLog(folder: string, maxBytes: number): Promise<void> {
  const path = logFile(folder);
  const size = await stat(path).then(
    (found) => found.size,
    (error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return 0;
      throw error;
    },
  );
  if (size <= maxBytes) return;
  await writeFile(olderLogFile(folder), await endOf(path, maxBytes));
  await truncate(path, 0);
}

export const forget = (folder: string): Promise<void> => rm(folder, { recursive: true, force: true });
