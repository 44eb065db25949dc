/** Removes a checkpoint that no tag holds: its manifest first, so that what a crash leaves is no checkpoint. */
import { checkpointManifestKey, checkpointPrefix, removingKey } from "./checkpoint.ts";
import { listTags } from "./checkpoint-tag.ts";
import { fail } from "./errors.ts";
import type { ObjectStore } from "./object-store.ts";

export async function removeCheckpoint(objects: ObjectStore, series: string, step: number): Promise<void> {
  await objects.put(removingKey(series, step), "");
  const held = (await listTags(objects, series)).find((tag) => tag.step === step);
  if (held) {
    await objects.delete(removingKey(series, step));
    fail("checkpoint_tagged", `${series}:${step} is tagged ${held.name}`, { series, step, tag: held.name });
  }
  await objects.delete(checkpointManifestKey(series, step));
  await objects.deletePrefix(checkpointPrefix(series, step));
}
