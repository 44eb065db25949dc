/** Tags: names that point at one checkpoint of a series each, as plain JSON beside its steps. */
import { json } from "node:stream/consumers";
import { checkpointManifestKey, removingKey, seriesPrefix } from "./checkpoint.ts";
import { fail } from "./errors.ts";
import type { ObjectStore } from "./object-store.ts";
import { NAME } from "./spec.ts";

export interface CheckpointTag {
  name: string;
  step: number;
  movedAt: string;
  /** Where it pointed before. */
  previous?: number;
}

export const STEP = /^\d{1,8}$/;
/** What a name after a series' means otherwise. */
const RESERVED: ReadonlySet<string> = new Set(["latest", "best", "tags", "metrics", "manifest"]);
const TRIES = 10;

const tagsPrefix = (series: string): string => `${seriesPrefix(series)}tags/`;
export const tagKey = (series: string, name: string): string => `${tagsPrefix(series)}${name}.json`;

/** The same text, when it can name a tag. */
export function tagName(name: string): string {
  if (!NAME.test(name) || STEP.test(name) || RESERVED.has(name))
    fail(
      "invalid_name",
      `${JSON.stringify(name.slice(0, 80))} is no tag: letters, digits, '-' and '_', 64 at most, no number, and none of ${[...RESERVED].join(", ")}`,
    );
  return name;
}

export async function readTag(
  objects: ObjectStore,
  series: string,
  name: string,
): Promise<(CheckpointTag & { etag: string }) | undefined> {
  const object = await objects.get(tagKey(series, name));
  return object && { ...((await json(object.body)) as CheckpointTag), etag: object.etag };
}

/** By name. */
export async function listTags(objects: ObjectStore, series: string): Promise<CheckpointTag[]> {
  const names: string[] = [];
  for await (const entry of objects.list(tagsPrefix(series))) {
    const name = entry.kind === "object" ? entry.key.slice(tagsPrefix(series).length, -".json".length) : "";
    if (NAME.test(name)) names.push(name);
  }
  const tags = await Promise.all(names.map((name) => readTag(objects, series, name)));
  return tags.filter((tag) => tag !== undefined).map(({ etag: _, ...tag }) => tag);
}

/**
 * Points a tag at a step by compare-and-set. `from` is the step it has to point at until now, null for none; without it the last
 * one who moves it wins.
 */
export async function moveTag(
  objects: ObjectStore,
  { series, name, step, from }: { series: string; name: string; step: number; from?: number | null },
): Promise<CheckpointTag> {
  await insistOn(objects, series, step);
  for (let i = 0; i < TRIES; i++) {
    const before = await readTag(objects, series, name);
    if (from !== undefined && (before?.step ?? null) !== from) moved(series, name, before);
    const tag: CheckpointTag = {
      ...{ name, step, movedAt: new Date().toISOString() },
      ...(before ? { previous: before.step } : {}),
    };
    const put = await objects.put(tagKey(series, name), JSON.stringify(tag, null, 2), {
      contentType: "application/json",
      ...(before ? { ifMatch: before.etag } : { ifNoneMatch: true }),
    });
    if (!put.created) continue;
    await insistOn(objects, series, step).catch(async (gone: unknown) => {
      await takeBack(objects, series, name, put.etag, before);
      throw gone;
    });
    return tag;
  }
  return moved(series, name, await readTag(objects, series, name));
}

const moved = (series: string, name: string, now: CheckpointTag | undefined): never =>
  fail("checkpoint_tag_moved", `the tag ${series}:${name} is at ${now ? `step ${now.step}` : "no checkpoint"}`, {
    series,
    tag: name,
    ...(now ? { step: now.step } : {}),
  });

/** Whoever removes a checkpoint says so before reading the tags, and we set the tag before reading that: one of the two sees the other. */
async function insistOn(objects: ObjectStore, series: string, step: number): Promise<void> {
  const [removing, manifest] = await Promise.all([
    objects.head(removingKey(series, step)),
    objects.head(checkpointManifestKey(series, step)),
  ]);
  if (!manifest || removing)
    fail("checkpoint_not_found", `no complete checkpoint at ${series}:${step}`, { series, step });
}

async function takeBack(
  objects: ObjectStore,
  series: string,
  name: string,
  etag: string,
  before: CheckpointTag | undefined,
): Promise<void> {
  if (!before) {
    if ((await readTag(objects, series, name))?.etag === etag) await objects.delete(tagKey(series, name));
    return;
  }
  const { name: _, step, movedAt, previous } = before;
  const tag: CheckpointTag = { name, step, movedAt, ...(previous === undefined ? {} : { previous }) };
  await objects.put(tagKey(series, name), JSON.stringify(tag, null, 2), {
    ...{ contentType: "application/json", ifMatch: etag },
  });
}
