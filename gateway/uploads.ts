/** Inputs too large to pass through the gateway: the client writes them into the bucket, and a call names them. */
import { z } from "@hono/zod-openapi";
import type { Uploaded } from "../core/decode-call.ts";
import { FabricError, fail } from "../core/errors.ts";
import { idTimeMs, isId, newId } from "../core/ids.ts";
import { inputKey } from "../core/invocation.ts";
import type { ObjectStore } from "../core/object-store.ts";
import type { Holds } from "../core/state-store.ts";
import type { UploadStore } from "../core/upload-store.ts";

export const MOST_UPLOAD_BYTES = 5 * 1024 ** 3;
/** Larger ones come in parts, so that a lost connection does not lose everything. */
export const PART_BYTES = 64 * 1024 * 1024;
const URL_SECONDS = 3 * 3600;
/** An upload that no call has named by then is of no use any more. */
export const UPLOAD_AGE_MS = 24 * 3_600_000;

export const uploadSchema = z
  .object({
    /** What the call names: `Fabric-Input`. */
    id: z.string(),
    /** PUT these many bytes there. More than one, or `upload`: then `complete` it with the ETags of the replies. */
    parts: z.array(z.object({ number: z.number().int(), size: z.number().int(), url: z.string() })),
    upload: z.string().optional(),
    expiresAt: z.iso.datetime(),
  })
  .openapi("Upload");

/** An upload is the input of exactly one call, and lies where that call's runner looks for it. */
const invocationOf = (upload: string): string => upload.replace(/^upl_/, "inv_");
const keyOf = (upload: string): string => inputKey(invocationOf(upload));

export function partSizes(size: number): number[] {
  const whole = Math.floor(size / PART_BYTES);
  const rest = size - whole * PART_BYTES;
  return [...Array<number>(whole).fill(PART_BYTES), ...(rest > 0 ? [rest] : [])];
}

export async function startUpload(uploads: UploadStore, size: number): Promise<z.infer<typeof uploadSchema>> {
  const id = newId("upl");
  const key = keyOf(id);
  const expiresAt = new Date(Date.now() + URL_SECONDS * 1000).toISOString();
  if (size <= PART_BYTES) {
    const url = await uploads.presignPut(key, size, URL_SECONDS);
    return { id, parts: [{ number: 1, size, url }], expiresAt };
  }
  const upload = await uploads.startParts(key);
  const parts = partSizes(size).map(async (bytes, index) => {
    const part = { number: index + 1, size: bytes };
    return { ...part, url: await uploads.presignPart(key, upload, part, URL_SECONDS) };
  });
  return { id, parts: await Promise.all(parts), upload, expiresAt };
}

export async function completeUpload(
  uploads: UploadStore,
  id: string,
  upload: string,
  parts: { number: number; etag: string }[],
): Promise<void> {
  checkId(id);
  await uploads.finishParts(keyOf(id), upload, parts);
}

/** For a call: what was uploaded, whole. */
export async function findUpload(objects: Pick<ObjectStore, "head">, id: string, body: Buffer): Promise<Uploaded> {
  checkId(id);
  if (body.length > 0) fail("bad_request", "a call with Fabric-Input has an empty body");
  const found = await objects.head(keyOf(id));
  if (!found) fail("upload_not_found", `'${id}' was not uploaded, or not completed`, { upload: id });
  if (found.size > MOST_UPLOAD_BYTES) fail("body_too_large", `'${id}' is larger than 5 GiB`);
  return { id: invocationOf(id), etag: found.etag };
}

function checkId(id: string): void {
  if (!isId("upl", id)) fail("upload_not_found", `no upload '${id.slice(0, 64)}'`);
  if (Date.now() - idTimeMs(id) > UPLOAD_AGE_MS) fail("upload_not_found", `'${id}' is older than a day`);
}

/** Two calls never share an upload; a repeat of one call, by its idempotency key, is that call. */
export async function withUpload<T>(holds: Holds, id: string, key: string, accept: () => Promise<T>): Promise<T> {
  const hold = await holds.takeUpload(id, key, 2 * UPLOAD_AGE_MS);
  if (hold === "others") fail("upload_used", `'${id}' is the input of another call`, { invocation: invocationOf(id) });
  try {
    return await accept();
  } catch (error) {
    // Whether Redis took the step is unknown when it did not answer: then the upload stays taken.
    const isRefusal = error instanceof FabricError && error.code !== "redis_unavailable";
    if (hold === "taken" && isRefusal) await holds.leaveUpload(id);
    throw error;
  }
}
