/** `running.json`: who runs a data directory now, so that a second start, `down` and `status` find the processes. */
import { writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { z } from "zod";
import { type DataDir, readIfThere, writePrivate } from "./data-dir.ts";
import { hasCode, LocalFailure } from "./failure.ts";
import { identify, isAlive } from "./identity.ts";

const identitySchema = z.object({ pid: z.number().int(), started: z.string().optional() });
const factsSchema = z.object({
  url: z.string(),
  token: z.string(),
  bucket: z.string(),
  dataDir: z.string(),
  s3: z.object({ endpoint: z.string(), region: z.string(), accessKeyId: z.string(), secretAccessKey: z.string() }),
  engine: z.string(),
  notices: z.array(z.string()),
});
/** What `fabric up` reports once all is ready. */
export type Facts = z.infer<typeof factsSchema>;

const runningSchema = z.object({
  supervisor: identitySchema,
  children: z.record(z.string(), identitySchema),
  facts: factsSchema.optional(),
});
export type Running = z.infer<typeof runningSchema>;

export function readRunning(dir: DataDir): Running | undefined {
  const text = readIfThere(dir.running);
  if (text === undefined || text === "") return undefined;
  return runningSchema.parse(JSON.parse(text));
}

/** The one that makes the file owns the data directory. A file whose supervisor is dead counts for nothing. */
export async function claimRunning(dir: DataDir): Promise<Running> {
  const running: Running = { supervisor: identify(process.pid), children: {} };
  const before = readRunning(dir);
  if (before && !isAlive(before.supervisor)) await rm(dir.running, { force: true });
  try {
    writeFileSync(dir.running, JSON.stringify(running), { mode: 0o600, flag: "wx" });
  } catch (error) {
    if (hasCode(error, "EEXIST"))
      throw new LocalFailure(`another fabric is starting in ${dir.root}`, "Wait a moment, then try again.");
    throw error;
  }
  return running;
}

export const saveRunning = (dir: DataDir, running: Running): void => writePrivate(dir.running, JSON.stringify(running));
export const dropRunning = (dir: DataDir): Promise<void> => rm(dir.running, { force: true });
