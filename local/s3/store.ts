/** A directory of buckets, blobs and uploads, opened by one process: what a crash left half-done is gone afterwards. */
import { mkdir, readdir, readFile, rm, rmdir } from "node:fs/promises";
import { join } from "node:path";
import { type Blobs, blobs } from "./blobs.ts";
import { type Bucket, type LoadedBucket, loadBucket } from "./bucket.ts";
import { lockDir } from "./dir-lock.ts";
import { codeOf, removeDurably, syncDir, writeDurably } from "./disk.ts";
import { refuse } from "./errors.ts";
import { type Locks, locks } from "./locks.ts";
import { loadUploads, type Uploads } from "./uploads.ts";

export interface Store {
  blobs: Blobs;
  uploads: Uploads;
  /** In the order of their names. */
  buckets(): Bucket[];
  /** Throws NoSuchBucket. */
  bucket(name: string): Bucket;
  /** False when it exists already. */
  createBucket(name: string, nowMs: number): Promise<boolean>;
  deleteBucket(name: string): Promise<void>;
  /** What opening found. */
  opened: { objects: number; sweptBlobs: number; damaged: string[] };
  close(): Promise<void>;
}

const FORMAT = 1;

export async function openStore(dir: string): Promise<Store> {
  for (const sub of ["buckets", "blobs", "uploads"]) await mkdir(join(dir, sub), { recursive: true, mode: 0o700 });
  const unlock = await lockDir(dir);
  try {
    return await load(dir, unlock);
  } catch (error) {
    await unlock();
    throw error;
  }
}

async function load(dir: string, unlock: () => Promise<void>): Promise<Store> {
  await checkFormat(join(dir, "format.json"));
  const keyed = locks();
  const bytes = blobs(join(dir, "blobs"));
  const loaded = await loadBuckets(join(dir, "buckets"), bytes, keyed);
  const damaged = loaded.flatMap((one) => one.damaged);
  const uploads = await loadUploads(
    join(dir, "uploads"),
    bytes,
    keyed,
    new Set(loaded.flatMap((one) => one.uploadIds)),
  );
  const living = new Set(uploads.liveBlobs());
  for (const { liveBlobs } of loaded) for (const id of liveBlobs) living.add(id);
  // A damaged file may name blobs that somebody could still save by hand, so nothing is swept beside it.
  const sweptBlobs = damaged.length === 0 ? await bytes.sweep(living) : 0;
  const all = new Map(loaded.map(({ bucket }) => [bucket.name, bucket]));
  const objects = loaded.reduce((sum, { bucket }) => sum + bucket.index.size, 0);
  return {
    blobs: bytes,
    uploads,
    opened: { objects, sweptBlobs, damaged },
    buckets: () => [...all.values()].sort((a, b) => (a.name < b.name ? -1 : 1)),
    bucket: (name) =>
      all.get(name) ?? refuse("NoSuchBucket", "The specified bucket does not exist", { BucketName: name }),
    createBucket: (name, nowMs) =>
      keyed.run(`bucket/${name}`, async () => {
        if (all.has(name)) return false;
        const path = join(dir, "buckets", name);
        await mkdir(join(path, "keys"), { recursive: true });
        await writeDurably(join(path, "bucket.json"), JSON.stringify({ createdMs: nowMs }));
        await syncDir(join(dir, "buckets"));
        all.set(name, (await loadBucket(path, name, nowMs, bytes, keyed)).bucket);
        return true;
      }),
    deleteBucket: (name) =>
      keyed.run(`bucket/${name}`, async () => {
        const bucket =
          all.get(name) ?? refuse("NoSuchBucket", "The specified bucket does not exist", { BucketName: name });
        if (!bucket.retire())
          refuse("BucketNotEmpty", "The bucket you tried to delete is not empty", { BucketName: name });
        all.delete(name);
        for (const upload of uploads.inBucket(name)) await uploads.finish(upload, async () => []);
        // Without its bucket.json a directory is no bucket: what a crash leaves of it goes at the next start.
        await removeDurably(join(dir, "buckets", name, "bucket.json"));
        await rm(join(dir, "buckets", name), { recursive: true, force: true });
      }),
    close: unlock,
  };
}

async function loadBuckets(dir: string, bytes: Blobs, keyed: Locks): Promise<LoadedBucket[]> {
  const loaded: LoadedBucket[] = [];
  for (const name of await readdir(dir)) {
    const text = await readIfThere(join(dir, name, "bucket.json"));
    if (text === undefined) await removeRemains(join(dir, name));
    else loaded.push(await loadBucket(join(dir, name), name, JSON.parse(text).createdMs, bytes, keyed));
  }
  return loaded;
}

/** Of a bucket that was being made or removed. Never with keys in it: those would be a bucket that lost its file. */
async function removeRemains(path: string): Promise<void> {
  for (const empty of [join(path, "keys"), path]) {
    await rmdir(empty).catch((error: unknown) => {
      if (codeOf(error) !== "ENOENT") throw error;
    });
  }
}

async function checkFormat(path: string): Promise<void> {
  const text = await readIfThere(path);
  if (text === undefined) return writeDurably(path, JSON.stringify({ version: FORMAT }));
  const { version } = JSON.parse(text) as { version: number };
  if (version !== FORMAT) throw new Error(`${path} says version ${version}; this endpoint reads version ${FORMAT}`);
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw error;
  }
}
