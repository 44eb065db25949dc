/** Removes images from the bucket that no version needs any more, and layers that no image there has. */
import { json } from "node:stream/consumers";
import type { Clock } from "../core/clock.ts";
import { type CollectImagesDeps, unneeded } from "../core/collect-images.ts";
import { IMAGES, imageIndexKey, imageIndexSchema, LAYERS, layerKey } from "../core/image-index.ts";
import type { ObjectStore } from "../core/object-store.ts";

interface Deps extends Omit<CollectImagesDeps, "shelf"> {
  objects: ObjectStore;
  clock: Clock;
}

/** Layers come before their index: what is younger may be about to get one. */
const LEAST_AGE_MS = 86_400_000;

/** Answers the keys it deleted. */
export async function collectStoredImages(deps: Deps, keepMs: number): Promise<string[]> {
  const keys = await unneededStored(deps, keepMs);
  // Indexes first: an image without one does not exist, one without a layer is damaged.
  for (const key of keys) await deps.objects.delete(key);
  return keys;
}

export async function unneededStored(deps: Deps, keepMs: number): Promise<string[]> {
  const { objects, clock } = deps;
  const stored: string[] = [];
  const layers: { key: string; modifiedMs: number }[] = [];
  for await (const entry of objects.list(IMAGES)) {
    if (entry.kind !== "object") continue;
    const hex = /^images\/([0-9a-f]{64})\.json$/.exec(entry.key)?.[1];
    if (hex) stored.push(`sha256:${hex}`);
    else if (entry.key.startsWith(LAYERS)) layers.push(entry);
  }
  if (stored.length + layers.length === 0) return [];
  const gone = await unneeded(deps, stored, keepMs);
  const used = new Set<string>();
  for (const ref of stored) if (!gone.includes(ref)) for (const key of await layersOf(objects, ref)) used.add(key);
  const unused = layers.filter(({ key, modifiedMs }) => !used.has(key) && modifiedMs < clock.now() - LEAST_AGE_MS);
  return [...gone.map(imageIndexKey), ...unused.map(({ key }) => key)];
}

async function layersOf(objects: ObjectStore, ref: string): Promise<string[]> {
  const index = await objects.get(imageIndexKey(ref));
  if (!index) return [];
  const { members } = imageIndexSchema.parse(await json(index.body));
  return members.flatMap(({ layer }) => (layer === undefined ? [] : [layerKey(layer)]));
}
