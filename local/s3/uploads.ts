/** Multipart uploads in progress: their parts are blobs like any other, and completing one only names them together. */
import { randomBytes } from "node:crypto";
import { mkdir, readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import type { BlobRef, Blobs } from "./blobs.ts";
import type { Checksum, ChecksumName } from "./checksum.ts";
import { codeOf, syncDir, TEMPORARY, writeDurably } from "./disk.ts";
import { refuse } from "./errors.ts";
import type { Locks } from "./locks.ts";

export interface UploadPlan {
  bucket: string;
  key: string;
  createdMs: number;
  headers: Record<string, string>;
  user: Record<string, string>;
  checksum?: { name: ChecksumName; type: Checksum["type"] };
}

export interface Part {
  number: number;
  blob: BlobRef;
  etag: string;
  modifiedMs: number;
  checksum?: Checksum;
}

export interface Upload extends UploadPlan {
  id: string;
  parts: Map<number, Part>;
}

export interface Uploads {
  create(plan: UploadPlan): Promise<Upload>;
  /** Throws NoSuchUpload unless it is in progress for this key. */
  find(id: string, bucket: string, key: string): Upload;
  inBucket(bucket: string): Upload[];
  /** Replaces a part of the same number. */
  addPart(upload: Upload, part: Part): Promise<void>;
  /** `commit` says which blobs the object keeps; the others go, and the upload ends. When it throws, nothing changes. */
  finish(upload: Upload, commit: () => Promise<BlobRef[]>): Promise<void>;
  /** Ends what was begun before this time. Returns how many. */
  expire(beforeMs: number): Promise<number>;
  liveBlobs(): string[];
}

const ID = /^[0-9a-f]{32}$/;

/** `completed`: uploads whose object exists already; a crash came before their directory went. */
export async function loadUploads(dir: string, blobs: Blobs, locks: Locks, completed: Set<string>): Promise<Uploads> {
  const live = new Map<string, Upload>();
  for (const id of await readdir(dir)) {
    const upload = completed.has(id) || !ID.test(id) ? undefined : await readUpload(join(dir, id), id);
    if (upload) live.set(id, upload);
    else await rm(join(dir, id), { recursive: true, force: true });
  }

  function finish(upload: Upload, commit: () => Promise<BlobRef[]>): Promise<void> {
    return locks.run(`upload/${upload.id}`, async () => {
      const { id, bucket, key } = upload;
      find(id, bucket, key);
      const kept = new Set((await commit()).map((blob) => blob.id));
      live.delete(id);
      await rm(join(dir, id), { recursive: true, force: true });
      await blobs.discard([...upload.parts.values()].map((part) => part.blob).filter((blob) => !kept.has(blob.id)));
    });
  }

  function find(id: string, bucket: string, key: string): Upload {
    const upload = live.get(id);
    if (upload?.bucket === bucket && upload.key === key) return upload;
    return refuse("NoSuchUpload", "The specified upload does not exist. It may have been aborted or completed.", {
      UploadId: id,
    });
  }

  return {
    find,
    finish,
    async create(plan) {
      const upload: Upload = { ...plan, id: randomBytes(16).toString("hex"), parts: new Map() };
      await mkdir(join(dir, upload.id));
      await writeDurably(join(dir, upload.id, "upload.json"), JSON.stringify(plan));
      await syncDir(dir);
      live.set(upload.id, upload);
      return upload;
    },
    inBucket: (bucket) => [...live.values()].filter((upload) => upload.bucket === bucket),
    addPart: (upload, part) =>
      locks.run(`upload/${upload.id}`, async () => {
        find(upload.id, upload.bucket, upload.key);
        const old = upload.parts.get(part.number);
        await writeDurably(join(dir, upload.id, `${part.number}.json`), JSON.stringify(part));
        upload.parts.set(part.number, part);
        if (old) await blobs.discard([old.blob]);
      }),
    async expire(beforeMs) {
      const old = [...live.values()].filter((upload) => upload.createdMs < beforeMs);
      for (const upload of old) await finish(upload, async () => []);
      return old.length;
    },
    liveBlobs: () => [...live.values()].flatMap((upload) => [...upload.parts.values()].map((part) => part.blob.id)),
  };
}

/** Undefined for one that a crash left without its plan: nobody was told of it, or it was being removed. */
async function readUpload(dir: string, id: string): Promise<Upload | undefined> {
  const plan = await readJson<UploadPlan>(join(dir, "upload.json"));
  if (!plan) return undefined;
  const parts = new Map<number, Part>();
  for (const file of await readdir(dir)) {
    if (file.endsWith(TEMPORARY)) await rm(join(dir, file), { force: true });
    const number = Number(/^(\d+)\.json$/.exec(file)?.[1]);
    const part = number ? await readJson<Part>(join(dir, file)) : undefined;
    if (part) parts.set(number, part);
  }
  return { ...plan, id, parts };
}

async function readJson<T>(path: string): Promise<T | undefined> {
  try {
    return JSON.parse(await readFile(path, "utf8")) as T;
  } catch (error) {
    if (codeOf(error) === "ENOENT" || error instanceof SyntaxError) return undefined;
    throw error;
  }
}
