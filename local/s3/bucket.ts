/** One bucket: a file per key that says what the key holds, and an index in memory for listing. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { mkdir, readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import type { BlobRef, Blobs } from "./blobs.ts";
import type { Checksum } from "./checksum.ts";
import { removeDurably, TEMPORARY, writeDurably } from "./disk.ts";
import { refuse } from "./errors.ts";
import type { Locks } from "./locks.ts";
import { type SortedKeys, sortedKeys } from "./sorted-keys.ts";

export interface IndexEntry {
  key: string;
  size: number;
  /** Hexadecimal, without quotes. */
  etag: string;
  modifiedMs: number;
}

export interface ObjectMeta extends IndexEntry {
  blobs: BlobRef[];
  /** content-type and its like, as they go back in replies. */
  headers: Record<string, string>;
  /** x-amz-meta-*, without that prefix. */
  user: Record<string, string>;
  checksum?: Checksum;
  /** Of an object put together from parts: a repeated completion is recognised by it. */
  uploadId?: string;
}

export interface Bucket {
  readonly name: string;
  readonly createdMs: number;
  readonly index: Pick<SortedKeys<IndexEntry>, "get" | "seek" | "size">;
  /** What the key holds now, its blobs pinned until `release`. */
  open(key: string): Promise<{ meta: ObjectMeta; release(): Promise<void> } | undefined>;
  /** Makes the key hold this; `allow` may refuse in view of what it holds, and nothing comes between the two. */
  commit(meta: ObjectMeta, allow: (current: IndexEntry | undefined) => void): Promise<void>;
  remove(key: string, allow?: (current: IndexEntry | undefined) => void): Promise<void>;
  /** Closes an empty bucket for good; false when it holds something or is being written to. */
  retire(): boolean;
}

export interface LoadedBucket {
  bucket: Bucket;
  liveBlobs: string[];
  uploadIds: string[];
  /** Files that do not say what a key holds; their blobs are unknown. */
  damaged: string[];
}

export async function loadBucket(
  dir: string,
  name: string,
  createdMs: number,
  blobs: Blobs,
  locks: Locks,
): Promise<LoadedBucket> {
  const keys = join(dir, "keys");
  await mkdir(keys, { recursive: true });
  const entries: IndexEntry[] = [];
  const loaded = { liveBlobs: [] as string[], uploadIds: [] as string[], damaged: [] as string[] };
  for (const file of await readdir(keys)) {
    const path = join(keys, file);
    if (file.endsWith(TEMPORARY)) {
      await rm(path, { force: true });
      continue;
    }
    // Nothing else runs yet, and for many small files this takes a third of the time of asking the thread pool.
    const meta = parseMeta(readFileSync(path, "utf8"));
    if (!meta || fileOf(meta.key) !== file) {
      loaded.damaged.push(path);
      continue;
    }
    entries.push(entryOf(meta));
    for (const blob of meta.blobs) loaded.liveBlobs.push(blob.id);
    if (meta.uploadId) loaded.uploadIds.push(meta.uploadId);
  }
  return { bucket: bucket(keys, name, createdMs, sortedKeys(entries), blobs, locks), ...loaded };
}

function bucket(
  keys: string,
  name: string,
  createdMs: number,
  index: SortedKeys<IndexEntry>,
  blobs: Blobs,
  locks: Locks,
): Bucket {
  let writers = 0;
  let retired = false;
  const pathOf = (key: string): string => join(keys, fileOf(key));
  const locked = <T>(key: string, work: () => Promise<T>): Promise<T> => locks.run(`${name}/${key}`, work);
  const read = async (key: string): Promise<ObjectMeta> => {
    const meta = parseMeta(await readFile(pathOf(key), "utf8"));
    if (!meta) throw new Error(`the meta file of ${name}/${key} is damaged`);
    return meta;
  };

  async function change<T>(key: string, work: () => Promise<T>): Promise<T> {
    if (retired) refuse("NoSuchBucket", "The specified bucket does not exist", { BucketName: name });
    writers++;
    try {
      return await locked(key, work);
    } finally {
      writers--;
    }
  }

  return {
    name,
    createdMs,
    index,
    async open(key) {
      if (!index.get(key)) return undefined;
      return locked(key, async () => {
        if (!index.get(key)) return undefined;
        const meta = await read(key);
        return { meta, release: blobs.pin(meta.blobs) };
      });
    },
    commit: (meta, allow) =>
      change(meta.key, async () => {
        const current = index.get(meta.key);
        allow(current);
        const old = current ? await read(meta.key) : undefined;
        await writeDurably(pathOf(meta.key), JSON.stringify(meta));
        index.set(entryOf(meta));
        await blobs.discard(old?.blobs ?? []);
      }),
    remove: (key, allow) =>
      change(key, async () => {
        const current = index.get(key);
        allow?.(current);
        if (!current) return;
        const old = await read(key);
        await removeDurably(pathOf(key));
        index.delete(key);
        await blobs.discard(old.blobs);
      }),
    retire() {
      retired = writers === 0 && index.size === 0;
      return retired;
    },
  };
}

const fileOf = (key: string): string => `${createHash("sha256").update(key).digest("hex")}.json`;

const entryOf = ({ key, size, etag, modifiedMs }: ObjectMeta): IndexEntry => ({ key, size, etag, modifiedMs });

function parseMeta(text: string): ObjectMeta | undefined {
  try {
    const meta = JSON.parse(text) as ObjectMeta;
    return typeof meta.key === "string" && Array.isArray(meta.blobs) ? meta : undefined;
  } catch {
    return undefined;
  }
}
