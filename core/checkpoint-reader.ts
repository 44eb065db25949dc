/** Reads checkpoints from the bucket: only folders with a manifest count. */
import { text } from "node:stream/consumers";
import { type CheckpointManifest, checkpointManifestKey, seriesPrefix } from "./checkpoint.ts";
import { readTag, STEP, tagName } from "./checkpoint-tag.ts";
import { fail } from "./errors.ts";
import type { ObjectStore } from "./object-store.ts";

export async function listSeries(objects: ObjectStore): Promise<string[]> {
  const found: string[] = [];
  for await (const entry of objects.list("checkpoints/", { delimiter: "/" }))
    if (entry.kind === "prefix") found.push(entry.prefix.slice("checkpoints/".length, -1));
  return found;
}

/** Steps with a manifest, ascending. */
export async function listSteps(objects: ObjectStore, series: string): Promise<number[]> {
  const steps: number[] = [];
  for await (const entry of objects.list(seriesPrefix(series))) {
    if (entry.kind !== "object") continue;
    const step = /\/(\d{8})\/manifest\.json$/.exec(entry.key)?.[1];
    if (step && entry.key === checkpointManifestKey(series, Number(step))) steps.push(Number(step));
  }
  return steps.sort((a, b) => a - b);
}

export async function readManifest(
  objects: ObjectStore,
  series: string,
  step: number,
): Promise<CheckpointManifest | undefined> {
  const object = await objects.get(checkpointManifestKey(series, step));
  return object && (JSON.parse(await text(object.body)) as CheckpointManifest);
}

/** Complete checkpoints of a series, by ascending step. */
export async function listCheckpoints(objects: ObjectStore, series: string): Promise<CheckpointManifest[]> {
  const manifests = await Promise.all(
    (await listSteps(objects, series)).map((step) => readManifest(objects, series, step)),
  );
  return manifests.filter((manifest) => manifest !== undefined);
}

/** The complete checkpoint with the highest step, of one invocation only when that is asked for. */
export async function latestCheckpoint(
  objects: ObjectStore,
  series: string,
  filter: { invocation?: string } = {},
): Promise<CheckpointManifest | undefined> {
  for (const step of (await listSteps(objects, series)).reverse()) {
    const manifest = await readManifest(objects, series, step);
    if (manifest && (filter.invocation === undefined || manifest.invocation === filter.invocation)) return manifest;
  }
  return undefined;
}

/**
 * The checkpoint that a name after the series' means: `latest`, `best` by the score its own series keeps, a step, or a tag.
 * What earlier invocations saved does not count when one `invocation` is given, unless a tag promoted it.
 */
export async function findCheckpoint(
  objects: ObjectStore,
  series: string,
  at: string,
  filter: { invocation?: string } = {},
): Promise<CheckpointManifest | undefined> {
  if (at === "latest") return latestCheckpoint(objects, series, filter);
  if (at === "best") return bestOfSeries(objects, series);
  if (STEP.test(at)) return readManifest(objects, series, Number(at));
  const tag = await readTag(objects, series, tagName(at));
  return tag && readManifest(objects, series, tag.step);
}

async function bestOfSeries(objects: ObjectStore, series: string): Promise<CheckpointManifest | undefined> {
  const latest = await latestCheckpoint(objects, series);
  if (!latest) return undefined;
  const { attribute, order = "max" } = latest.keep ?? {};
  if (attribute === undefined)
    fail("bad_request", `the series ${series} was saved without a score attribute; name the metric`, { series });
  return bestCheckpoint(objects, series, attribute, order);
}

/** The checkpoint with the best value of a numeric metric; the later one where two are equal. */
export async function bestCheckpoint(
  objects: ObjectStore,
  series: string,
  metric: string,
  order: "max" | "min",
): Promise<CheckpointManifest | undefined> {
  const sign = order === "max" ? 1 : -1;
  let best: { manifest: CheckpointManifest; score: number } | undefined;
  for (const manifest of await listCheckpoints(objects, series)) {
    const value = manifest.metrics[metric];
    if (typeof value !== "number" || Number.isNaN(value)) continue;
    if (!best || value * sign >= best.score) best = { manifest, score: value * sign };
  }
  return best?.manifest;
}
