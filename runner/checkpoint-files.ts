/** Brings a file of a checkpoint into the bucket: one that has not changed by a copy inside it, any other from scratch. */
import { createHash } from "node:crypto";
import type { FileHandle } from "node:fs/promises";
import { addAbortSignal, Transform } from "node:stream";
import { type CheckpointFile, type CheckpointManifest, checkpointPrefix } from "../core/checkpoint.ts";
import { fail } from "../core/errors.ts";
import type { ObjectStore } from "../core/object-store.ts";

/** What the attempt knows of the files it saved last, so that one that changed is seldom read twice. */
export interface Saved {
  manifest: CheckpointManifest;
  /** By path: a digest of a few of its bytes. */
  samples: Map<string, string>;
}

const SAMPLE_BYTES = 64 * 1024;

export async function saveFile(
  objects: ObjectStore,
  handle: FileHandle,
  path: string,
  prefix: string,
  before: Saved | undefined,
  signal?: AbortSignal,
): Promise<{ file: CheckpointFile; sample: string }> {
  const { size } = await handle.stat();
  const sample = await sampleOf(handle, size);
  const same = before && (await unchanged(handle, path, size, sample, before));
  const file =
    (same && (await copy(objects, before.manifest, same, path, prefix))) ??
    (await upload(objects, handle, path, size, prefix, signal));
  return { file, sample };
}

async function sampleOf(handle: FileHandle, size: number): Promise<string> {
  const hash = createHash("sha256").update(String(size));
  const places = size <= 3 * SAMPLE_BYTES ? [0] : [0, Math.floor(size / 2), size - SAMPLE_BYTES];
  const length = size <= 3 * SAMPLE_BYTES ? size : SAMPLE_BYTES;
  for (const position of places) {
    const { bytesRead, buffer } = await handle.read(Buffer.alloc(length), 0, length, position);
    hash.update(buffer.subarray(0, bytesRead));
  }
  return hash.digest("hex");
}

/** The file of the checkpoint before that holds the same bytes. */
async function unchanged(
  handle: FileHandle,
  path: string,
  size: number,
  sample: string,
  { manifest, samples }: Saved,
): Promise<CheckpointFile | undefined> {
  const there = manifest.files.find((file) => file.path === path);
  if (!there || there.size !== size || size === 0) return undefined;
  const seen = samples.get(path);
  if (seen !== undefined && seen !== sample) return undefined;
  return (await digestOf(handle, size)) === there.sha256 ? there : undefined;
}

export async function digestOf(handle: FileHandle, size: number): Promise<string> {
  const hash = createHash("sha256");
  if (size > 0)
    for await (const chunk of handle.createReadStream({ autoClose: false, start: 0, end: size - 1 }))
      hash.update(chunk);
  return hash.digest("hex");
}

/** Nothing when the checkpoint before is gone meanwhile. */
async function copy(
  objects: ObjectStore,
  { series, step }: CheckpointManifest,
  from: CheckpointFile,
  path: string,
  prefix: string,
): Promise<CheckpointFile | undefined> {
  const key = `${prefix}${path}`;
  const copied = await objects.copy(`${checkpointPrefix(series, step)}${from.path}`, key, {
    ...{ ifNoneMatch: true, size: from.size },
  });
  if (copied && !copied.created) fail("checkpoint_exists", `${key} was written by another attempt`);
  return copied && { path, size: from.size, sha256: from.sha256 };
}

async function upload(
  objects: ObjectStore,
  handle: FileHandle,
  path: string,
  size: number,
  prefix: string,
  signal: AbortSignal | undefined,
): Promise<CheckpointFile> {
  const hash = createHash("sha256");
  let seen = 0;
  const measured = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk);
      seen += chunk.length;
      done(null, chunk);
    },
  });
  const source = handle.createReadStream({ autoClose: false, start: 0, end: Math.max(0, size - 1) });
  source.on("error", (error) => measured.destroy(error));
  if (signal) addAbortSignal(signal, source);
  const body = size === 0 ? Buffer.alloc(0) : source.pipe(measured);
  const key = `${prefix}${path}`;
  const { created } = Buffer.isBuffer(body)
    ? await objects.put(key, body, { ifNoneMatch: true })
    : await objects.putStream(key, body, { ifNoneMatch: true, size });
  if (!created) fail("checkpoint_exists", `${key} was written by another attempt`);
  if (seen !== size) fail("checkpoint_invalid", `${path} changed while it was saved`);
  return { path, size, sha256: hash.digest("hex") };
}
