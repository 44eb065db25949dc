/** Publishes a result: small ones go into the record, others to the bucket, where the first attempt to commit wins. */
import { createReadStream, createWriteStream } from "node:fs";
import { mkdir, rm, stat } from "node:fs/promises";
import { dirname } from "node:path";
import type { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { pipeline } from "node:stream/promises";
import { z } from "zod";
import { type Encoding, encodingSchema } from "../core/encoding.ts";
import { fail } from "../core/errors.ts";
import { RECORD_INLINE_BYTES, type ResultRef, resultDataKey, resultManifestKey } from "../core/invocation.ts";
import type { ObjectStore } from "../core/object-store.ts";
import type { Attempt } from "../core/state-store.ts";

/** A result in hand: bytes, or a file on this node's disk that outlives the shim's stream. */
export type Payload = { encoding: Encoding } & ({ bytes: Buffer } | { file: string; size: number });

const manifestSchema = z.object({
  encoding: encodingSchema,
  size: z.number().int().min(0),
  key: z.string(),
  generation: z.number().int().min(1),
  /** How long it is kept, where that is not the fabric's default: for a collector that finds no record. */
  ttlSeconds: z.number().optional(),
});

/** What an earlier attempt committed, if one did before its runner was lost. */
export async function findPublished(objects: ObjectStore, id: string): Promise<ResultRef | undefined> {
  const object = await objects.get(resultManifestKey(id));
  if (!object) return undefined;
  const { encoding, size, key } = manifestSchema.parse(JSON.parse(await text(object.body)));
  return { encoding, size, key };
}

/** `mayCommit` is asked right before the manifest: a lost attempt leaves data behind, never a result. */
export async function publishResult(
  objects: ObjectStore,
  attempt: Attempt,
  payload: Payload,
  mayCommit: () => void,
  ttlSeconds?: number,
): Promise<ResultRef> {
  const { encoding } = payload;
  const size = "bytes" in payload ? payload.bytes.length : payload.size;
  if ("bytes" in payload && size <= RECORD_INLINE_BYTES) return { encoding, size, inline: payload.bytes };
  const key = resultDataKey(attempt.id, attempt.generation);
  if ("bytes" in payload) await objects.put(key, payload.bytes);
  else await objects.putStream(key, createReadStream(payload.file), { size });
  mayCommit();
  const manifest = JSON.stringify({ encoding, size, key, generation: attempt.generation, ttlSeconds });
  const { created } = await objects.put(resultManifestKey(attempt.id), manifest, {
    ifNoneMatch: true,
    contentType: "application/json",
  });
  return (created ? undefined : await findPublished(objects, attempt.id)) ?? { encoding, size, key };
}

const MOST_RESULT_BYTES = 5 * 1024 ** 3;

/** Takes a streamed result to disk, so that the bucket being away cannot lose it. Throws `result_too_large`. */
export async function spool(
  body: Readable,
  file: string,
  encoding: Encoding,
  mostBytes = MOST_RESULT_BYTES,
): Promise<Payload> {
  await mkdir(dirname(file), { recursive: true, mode: 0o700 });
  const limited = async function* (source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    let bytes = 0;
    for await (const chunk of source) {
      bytes += chunk.length;
      if (bytes > mostBytes) fail("result_too_large", `the result has more than ${mostBytes} bytes`);
      yield chunk;
    }
  };
  try {
    await pipeline(body, limited, createWriteStream(file, { mode: 0o600 }));
  } catch (thrown) {
    await rm(file, { force: true });
    throw thrown;
  }
  return { encoding, file, size: (await stat(file)).size };
}
