/** Datasets in fabric's bucket, for functions, which have no keys: what is there, and a file of it. */
import { fail } from "../core/errors.ts";
import type { ObjectStore } from "../core/object-store.ts";
import { type BringDeps, bring } from "./bring.ts";

/** Nothing else of the bucket is theirs to read: other apps' sources, inputs and results are in there. */
const PREFIX = "datasets/";
const MOST_FILES = 10_000;

/** What `url` is to the bucket, and how URLs of its kind begin. */
export function datasetKey(url: string, bucket: string): { key: string; base: string } {
  const [, scheme, rest = ""] = /^(s3|fabric):\/\/(.*)$/.exec(url) ?? [];
  const base = scheme === "s3" ? `s3://${bucket}/` : "fabric://";
  const here = `s3://${bucket}/${PREFIX}`;
  if (!scheme || !url.startsWith(base))
    fail("dataset_unreadable", `${url} is not in fabric's bucket; containers have no keys: copy it to ${here}`);
  const key = scheme === "s3" ? rest.slice(bucket.length + 1) : rest;
  if (!key.startsWith(PREFIX))
    fail("dataset_unreadable", `${url}: functions read what is below ${here} and nothing else`);
  return { key, base };
}

/** The file itself, or all files below it, by their names. */
export async function listDataset(
  objects: ObjectStore,
  url: string,
  bucket: string,
): Promise<{ url: string; size: number }[]> {
  const { key, base } = datasetKey(url, bucket);
  const file = key.endsWith("/") ? undefined : await objects.head(key);
  if (file) return [{ url, size: file.size }];
  const found: { url: string; size: number }[] = [];
  for await (const entry of objects.list(key.endsWith("/") ? key : `${key}/`)) {
    if (entry.kind !== "object" || entry.key.endsWith("/")) continue;
    found.push({ url: `${base}${entry.key}`, size: entry.size });
    if (found.length > MOST_FILES) fail("dataset_unreadable", `${url} has more than ${MOST_FILES} files`);
  }
  if (found.length === 0) fail("dataset_unreadable", `there is nothing at ${url}`);
  return found;
}

export async function openDataset(deps: BringDeps, url: string, bucket: string) {
  const { key } = datasetKey(url, bucket);
  const file = await deps.patience.lasting(() => deps.objects.head(key));
  if (!file) fail("dataset_unreadable", `there is no file ${url}`);
  const brought = await bring(deps, [{ path: key.slice(key.lastIndexOf("/") + 1), size: file.size, key }]);
  return brought ? { answer: { files: brought.files }, begin: brought.begin } : null;
}
