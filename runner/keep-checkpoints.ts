/** Removes what a series' keep rule lets go, after a commit. */
import type { CheckpointManifest, KeepRule } from "../core/checkpoint.ts";
import { latestCheckpoint, listSteps, readManifest } from "../core/checkpoint-reader.ts";
import { listTags } from "../core/checkpoint-tag.ts";
import { asFabricError } from "../core/errors.ts";
import { type Kept, stepsToRemove } from "../core/keep-rule.ts";
import type { Log } from "../core/log.ts";
import type { ObjectStore } from "../core/object-store.ts";
import { removeCheckpoint } from "../core/remove-checkpoint.ts";

/** `known`: metrics by step that were read before, since they never change. What could not be removed is tried at the next commit. */
export async function keepCheckpoints(
  { objects, log }: { objects: ObjectStore; log: Log },
  rule: KeepRule,
  saved: CheckpointManifest,
  known: Map<number, CheckpointManifest["metrics"]>,
): Promise<void> {
  if (rule.numToKeep === undefined) return;
  const { series, step: own, invocation } = saved;
  try {
    known.set(own, saved.metrics);
    const steps = await listSteps(objects, series);
    const checkpoints: Kept[] = [];
    for (const step of steps) {
      const metrics = known.get(step) ?? (await readManifest(objects, series, step))?.metrics;
      if (metrics === undefined) continue;
      known.set(step, metrics);
      checkpoints.push({ step, metrics });
    }
    const resumed = await latestCheckpoint(objects, series, { invocation });
    const needed = new Set([own, steps.at(-1) ?? own, resumed?.step ?? own]);
    const tagged = new Set((await listTags(objects, series)).map(({ step }) => step));
    for (const step of stepsToRemove(checkpoints, rule, { needed, tagged })) await remove(objects, series, step);
  } catch (err) {
    log.warn({ err, series }, "the checkpoints to let go were not all removed");
  }
}

async function remove(objects: ObjectStore, series: string, step: number): Promise<void> {
  try {
    await removeCheckpoint(objects, series, step);
  } catch (thrown) {
    // Tagged since we looked: it stays.
    if (asFabricError(thrown).code !== "checkpoint_tagged") throw thrown;
  }
}
