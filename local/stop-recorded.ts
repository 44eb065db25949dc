/** Ends processes by their recorded identities: politely, then, after a deadline, by force. */
import { setTimeout as wait } from "node:timers/promises";
import { type Identity, isAlive, signalProcess } from "./identity.ts";
import type { Running } from "./running.ts";

const SUPERVISOR_MS = 120_000;
const CHILD_MS = 15_000;
const ORDER = ["runner", "gateway", "s3", "redis"];

/** Stops the supervisor, which stops its children; what is left afterwards, or was left by a dead supervisor, follows. */
export async function stopRecorded(running: Running, onForce: (name: string) => void): Promise<void> {
  await stopOne("supervisor", running.supervisor, SUPERVISOR_MS, onForce);
  for (const name of ORDER) {
    const child = running.children[name];
    if (child) await stopOne(name, child, CHILD_MS, onForce);
  }
}

async function stopOne(name: string, who: Identity, graceMs: number, onForce: (name: string) => void): Promise<void> {
  signalProcess(who, "SIGTERM");
  if (await goneWithin(who, graceMs)) return;
  onForce(name);
  signalProcess(who, "SIGKILL");
  await goneWithin(who, CHILD_MS);
}

async function goneWithin(who: Identity, ms: number): Promise<boolean> {
  const deadline = performance.now() + ms;
  while (isAlive(who)) {
    if (performance.now() > deadline) return false;
    await wait(25);
  }
  return true;
}
