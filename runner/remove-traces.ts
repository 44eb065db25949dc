/** Removes what a container that has ended leaves on its node. */
import { rm } from "node:fs/promises";
import type { ContainerDeps } from "./container-contract.ts";
import type { foldersOf } from "./dirs.ts";
import type { Channels } from "./open-channels.ts";

export async function removeTraces(
  { engine, log }: Pick<ContainerDeps, "engine" | "log">,
  id: string,
  { socketDir, scratchDir }: ReturnType<typeof foldersOf>,
  channels: Channels | undefined,
): Promise<void> {
  try {
    await channels?.close();
    await engine.remove(id);
    await Promise.all([socketDir, scratchDir].map((folder) => rm(folder, { recursive: true, force: true })));
  } catch (err) {
    // Labels and folder names stay: the next reconcile finds and removes what is left.
    log.error({ err, container: id }, "a container's traces could not all be removed");
  }
}
