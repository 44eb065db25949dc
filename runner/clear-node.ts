/** Ends what a runner that cannot do it any more left on its node: containers first, then the folders they used. */
import { rm } from "node:fs/promises";
import { dirname } from "node:path";
import type { ContainerEngine } from "../core/engine.ts";
import { LABELS, type NodeIdentity } from "./container-plan.ts";
import type { RunnerDirs } from "./dirs.ts";

/** A daemon may still carry out what the dead runner asked of it last. */
const ROUNDS = 5;

/** Answers the ids of the containers it removed. */
export async function clearNode(engine: ContainerEngine, identity: NodeIdentity): Promise<string[]> {
  const labels = { [LABELS.fabric]: identity.fabric, [LABELS.node]: identity.node };
  const removed = new Set<string>();
  for (let round = 0; round < ROUNDS; round++) {
    const found = await engine.list(labels);
    if (found.length === 0) break;
    for (const { id } of found) {
      await engine.remove(id);
      removed.add(id);
    }
  }
  await engine.endGang();
  return [...removed];
}

/** Only once no container is left that could write there. */
export async function clearFolders(dirs: RunnerDirs): Promise<void> {
  const folders = [dirname(dirs.socketDir("x")), dirname(dirs.scratchDir("x")), dirs.spool];
  for (const folder of folders) await rm(folder, { recursive: true, force: true });
}
