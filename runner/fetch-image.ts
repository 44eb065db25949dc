/** Takes an image in from the bucket: its files become a tar again, less the layers this node has, and go to the engine as they come. */
import { type Readable, Transform, type Writable } from "node:stream";
import { json } from "node:stream/consumers";
import { pipeline } from "node:stream/promises";
import { createGunzip } from "node:zlib";
import { pack } from "tar-stream";
import { FabricError, fail } from "../core/errors.ts";
import { type ImageIndex, imageIndexKey, imageIndexSchema, layerKey, layersThere } from "../core/image-index.ts";
import type { ImageStore } from "../core/image-store.ts";
import type { ObjectStore } from "../core/object-store.ts";

interface Deps {
  objects: ObjectStore;
  images: Pick<ImageStore, "find" | "load" | "layers">;
}

export interface FetchProgress {
  /** Bytes that have come, of those that travel. */
  done: number;
  total: number;
}

const CHUNK_BYTES = 256 * 1024;

/**
 * False when the bucket does not hold it, or not whole: then it is to be asked for. The engine checks every layer's digest.
 * `all`: also the layers that are here, for an engine that did not take it without them.
 */
export async function fetchImage(
  { objects, images }: Deps,
  ref: string,
  onProgress: (progress: FetchProgress) => void,
  signal: AbortSignal,
  all = false,
): Promise<boolean> {
  const index = await readIndex(objects, ref);
  if (!index) return false;
  const there = layersThere(index, all ? [] : await images.layers());
  const members = index.members.filter(({ name }) => !there.has(name));
  const progress = { done: 0, total: members.reduce((sum, one) => sum + (one.storedBytes ?? 0), 0) };
  onProgress(progress);
  const onBytes = (count: number): void => {
    progress.done += count;
    onProgress(progress);
  };
  const damaged = await loadMembers({ objects, images }, members, onBytes, signal);
  if (damaged === undefined) {
    if (await images.find(ref)) return true;
    fail(
      "image_missing",
      `Docker took the image in under another id than ${ref}: all nodes need one kind of image store.`,
    );
  }
  // Without its index the image counts as absent: a gateway that has it brings anew what is missing.
  await objects.delete(layerKey(damaged));
  await objects.delete(imageIndexKey(ref));
  return false;
}

async function readIndex(objects: ObjectStore, ref: string): Promise<ImageIndex | undefined> {
  const object = await objects.get(imageIndexKey(ref));
  return object && imageIndexSchema.parse(await json(object.body));
}

/** Answers the layer whose object is missing or damaged, if one is; the engine has taken nothing in then. */
async function loadMembers(
  { objects, images }: Deps,
  members: ImageIndex["members"],
  onBytes: (count: number) => void,
  signal: AbortSignal,
): Promise<string | undefined> {
  const stop = new AbortController();
  const tar = pack();
  let cause: unknown;
  let damaged: string | undefined;
  const end = (thrown: unknown): void => {
    if (cause !== undefined) return;
    cause = thrown;
    // The engine sees its request cut off, and the writing below that nobody reads any more.
    stop.abort(thrown);
    tar.destroy(thrown as Error);
  };
  tar.on("error", end);
  const write = async (): Promise<void> => {
    for (const { content, layer, storedBytes, ...header } of members) {
      if (layer === undefined) {
        tar.entry(header, Buffer.from(content ?? "", "base64"));
        continue;
      }
      const object = await objects.get(layerKey(layer), { signal });
      if (!object) {
        damaged = layer;
        throw new FabricError("storage_unavailable", `the bucket lacks the layer ${layer}`);
      }
      try {
        await unpack(object.body, tar.entry(header) as unknown as Writable, onBytes);
      } catch (thrown) {
        if (isDamage(thrown)) damaged = layer;
        throw thrown;
      }
    }
    tar.finalize();
  };
  const load = images.load(tar as unknown as Readable, AbortSignal.any([signal, stop.signal]));
  await Promise.all([load.catch(end), write().catch(end)]);
  signal.throwIfAborted();
  if (cause !== undefined && damaged === undefined) throw cause;
  return damaged;
}

const unpack = (body: Readable, entry: Writable, onBytes: (count: number) => void): Promise<void> =>
  pipeline(
    body,
    new Transform({
      transform(chunk: Buffer, _encoding, done) {
        onBytes(chunk.length);
        done(undefined, chunk);
      },
    }),
    createGunzip({ chunkSize: CHUNK_BYTES }),
    entry,
  );

/** zlib's own codes, or tar-stream's word for a file of another length than its header says. */
const isDamage = (thrown: unknown): boolean =>
  thrown instanceof Error &&
  (/^Z_(DATA|BUF)_ERROR$/.test((thrown as NodeJS.ErrnoException).code ?? "") || thrown.message === "Size mismatch");
