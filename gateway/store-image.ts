/** Brings an image of this node into the bucket, where nodes that lack it find it: large files one by one, so that images share layers. */
import { type Readable, Transform } from "node:stream";
import { buffer } from "node:stream/consumers";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import { extract, type Header } from "tar-stream";
import { type ImageMember, imageIndexKey, layerKey, layerOf } from "../core/image-index.ts";
import type { ImageStore } from "../core/image-store.ts";
import type { ObjectStore } from "../core/object-store.ts";

interface Deps {
  objects: ObjectStore;
  images: Pick<ImageStore, "save">;
}

/** Smaller files are part of the index. */
const INLINE_BYTES = 256 * 1024;
/** Measured on images with torch: a third of the size in the time a disk takes; higher levels take twice as long for a tenth more. */
const GZIP_LEVEL = 1;
const CHUNK_BYTES = 256 * 1024;

/** Whole or not there: the index comes last. `onBytes` hears of bytes of the engine's tar. */
export async function storeImage(
  { objects, images }: Deps,
  ref: string,
  onBytes: (count: number) => void,
  signal: AbortSignal,
): Promise<void> {
  const members: ImageMember[] = [];
  const files = extract();
  const counted = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      onBytes(chunk.length);
      done(undefined, chunk);
    },
  });
  const reading = pipeline(await images.save(ref), counted, files as unknown as NodeJS.WritableStream, { signal });
  // What ends it early ends the loop below with the same error.
  reading.catch(() => {});
  for await (const entry of files)
    members.push(await storeMember(objects, entry.header, entry as unknown as Readable, signal));
  await reading;
  await objects.put(imageIndexKey(ref), JSON.stringify({ image: ref, members }), {
    contentType: "application/json",
    signal,
  });
}

async function storeMember(
  objects: ObjectStore,
  { name, type, mode = 0o644, size = 0, linkname }: Header,
  content: Readable,
  signal: AbortSignal,
): Promise<ImageMember> {
  const member = { name, mode, size };
  if (type === "directory" || type === "symlink") {
    content.resume();
    return { ...member, type, ...(type === "symlink" && linkname ? { linkname } : {}) };
  }
  if (size <= INLINE_BYTES) return { ...member, type: "file", content: (await buffer(content)).toString("base64") };
  const layer = layerOf(name);
  return { ...member, type: "file", layer, storedBytes: await storeLayer(objects, layerKey(layer), content, signal) };
}

/** Answers the size of its object, which an earlier image may have brought. */
async function storeLayer(objects: ObjectStore, key: string, layer: Readable, signal: AbortSignal): Promise<number> {
  const there = await objects.head(key);
  if (there) {
    layer.resume();
    return there.size;
  }
  let bytes = 0;
  const packed = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      bytes += chunk.length;
      done(undefined, chunk);
    },
  });
  const zip = createGzip({ level: GZIP_LEVEL, chunkSize: CHUNK_BYTES });
  await Promise.all([
    pipeline(layer, zip, packed),
    objects.putStream(key, packed, { contentType: "application/gzip", signal }),
  ]);
  return bytes;
}
