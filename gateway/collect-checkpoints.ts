/** Deletes what saves that never ended left in the bucket, and ends removals that broke off, when they are a day old. */
import { REMOVING } from "../core/checkpoint.ts";
import type { Clock } from "../core/clock.ts";
import { asFabricError } from "../core/errors.ts";
import type { ObjectStore } from "../core/object-store.ts";
import { removeCheckpoint } from "../core/remove-checkpoint.ts";

/** No save takes longer from one file to the next; a new attempt of the series removes what is younger. */
const AGE_MS = 86_400_000;

interface Folder {
  prefix: string;
  series: string;
  step: number;
  isComplete: boolean;
  isRemoved: boolean;
  newestMs: number;
}

/** Answers how many folders it deleted. */
export async function collectCheckpoints({ objects, clock }: { objects: ObjectStore; clock: Clock }): Promise<number> {
  const until = clock.now() - AGE_MS;
  let deleted = 0;
  let folder: Folder | undefined;
  const settle = async (): Promise<void> => {
    if (folder && folder.newestMs < until && (await settleFolder(objects, folder))) deleted++;
  };
  // Keys come sorted, so that those of one folder come together.
  for await (const entry of objects.list("checkpoints/")) {
    const found = /^(checkpoints\/([^/]+)\/(\d{8})\/)(.+)$/.exec(entry.kind === "object" ? entry.key : "");
    if (entry.kind !== "object" || !found) continue;
    const [, prefix = "", series = "", step = "", name] = found;
    if (folder?.prefix !== prefix) {
      await settle();
      folder = { prefix, series, step: Number(step), isComplete: false, isRemoved: false, newestMs: 0 };
    }
    if (name === "manifest.json") folder.isComplete = true;
    if (name === REMOVING) folder.isRemoved = true;
    folder.newestMs = Math.max(folder.newestMs, entry.modifiedMs);
  }
  await settle();
  return deleted;
}

async function settleFolder(objects: ObjectStore, { prefix, series, step, isComplete, isRemoved }: Folder) {
  if (!isComplete) return (await objects.deletePrefix(prefix)) > 0;
  if (!isRemoved) return false;
  try {
    await removeCheckpoint(objects, series, step);
    return true;
  } catch (thrown) {
    if (asFabricError(thrown).code === "checkpoint_tagged") return false;
    throw thrown;
  }
}
