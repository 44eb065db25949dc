/** What a fabric keeps about itself between starts: its ids, keys and ports, made once and never printed. */
import { randomBytes } from "node:crypto";
import { z } from "zod";
import { newId } from "../core/ids.ts";
import { type DataDir, readIfThere, writePrivate } from "./data-dir.ts";
import { LocalFailure } from "./failure.ts";

const portsSchema = z.object({ gateway: z.number().int(), redis: z.number().int(), s3: z.number().int() });
export type Ports = z.infer<typeof portsSchema>;

const stateSchema = z.object({
  fabricId: z.string().min(1),
  nodeId: z.string().min(1),
  adminToken: z.string().min(32),
  redisPassword: z.string().min(32),
  s3AccessKeyId: z.string().min(8),
  s3SecretAccessKey: z.string().min(32),
  /** Of the last start, so that the URL stays the same. */
  ports: portsSchema.optional(),
});
export type LocalState = z.infer<typeof stateSchema>;

const random = (bytes: number): string => randomBytes(bytes).toString("hex");

function newState(): LocalState {
  return {
    fabricId: newId("fab"),
    nodeId: newId("nod"),
    adminToken: `fab_admin_${random(24)}`,
    redisPassword: random(24),
    s3AccessKeyId: `FABRIC${random(7).toUpperCase()}`,
    s3SecretAccessKey: random(20),
  };
}

export function readState(dir: DataDir): LocalState | undefined {
  const text = readIfThere(dir.state);
  if (text === undefined) return undefined;
  try {
    return stateSchema.parse(JSON.parse(text));
  } catch (error) {
    throw new LocalFailure(
      `${dir.state} is damaged, and it holds the keys of what is stored beside it`,
      "Restore it from a backup, or choose an empty --data-dir.",
      { cause: error },
    );
  }
}

export function openState(dir: DataDir): LocalState {
  const kept = readState(dir);
  if (kept) return kept;
  const made = newState();
  saveState(dir, made);
  return made;
}

export const saveState = (dir: DataDir, state: LocalState): void =>
  writePrivate(dir.state, `${JSON.stringify(state, null, 2)}\n`);
