/** PutObject, CopyObject, DeleteObject and DeleteObjects. */
import { readText } from "./body.ts";
import type { ObjectMeta } from "./bucket.ts";
import { checksumElement, checksumHeader, parseChecksumName } from "./checksum.ts";
import { allowWrite, notModified } from "./conditions.ts";
import { refuse, S3Error } from "./errors.ts";
import { type Exchange, isoDate, quoted, sendEmpty, sendXml } from "./exchange.ts";
import { describedBy } from "./metadata.ts";
import { checkKey, decode } from "./target.ts";
import { childrenNamed, childText, parseXml, type XmlFields, type XmlNode } from "./xml.ts";

export const MAX_PUT_BYTES = 5 * 1024 ** 3;
const MAX_DELETES = 1000;
const DELETES_AT_ONCE = 50;

export async function putObject(exchange: Exchange): Promise<void> {
  const { request, target, store, now } = exchange;
  const bucket = store.bucket(target.bucket);
  const described = describedBy(request.headers);
  // Asked twice: now, to spare a loser the upload, and again at the moment that decides.
  allowWrite(request.headers, bucket.index.get(target.key));
  const body = exchange.body();
  if (body.size > MAX_PUT_BYTES) refuse("EntityTooLarge", "Your proposed upload exceeds the maximum allowed size");
  const blob = await store.blobs.write(body.stream);
  const meta: ObjectMeta = {
    key: target.key,
    size: blob.size,
    etag: body.md5(),
    modifiedMs: now(),
    blobs: [blob],
    ...described,
    ...withChecksum(body.checksum()),
  };
  await commitOrDiscard(exchange, meta);
  sendEmpty(exchange, 200, { etag: quoted(meta.etag), ...checksumHeaders(meta) });
}

async function commitOrDiscard(exchange: Exchange, meta: ObjectMeta): Promise<void> {
  const { request, store, target } = exchange;
  try {
    await store.bucket(target.bucket).commit(meta, (current) => allowWrite(request.headers, current));
  } catch (error) {
    await store.blobs.discard(meta.blobs);
    throw error;
  }
}

export function checksumHeaders(meta: Pick<ObjectMeta, "checksum">): Record<string, string> {
  const { checksum } = meta;
  return checksum ? { [checksumHeader(checksum.name)]: checksum.value, "x-amz-checksum-type": checksum.type } : {};
}

const withChecksum = (checksum: ObjectMeta["checksum"]) => (checksum ? { checksum } : {});

/** The source of a copy, its blobs pinned; conditions on it are checked. */
export async function openCopySource({
  request,
  store,
}: Exchange): Promise<{ meta: ObjectMeta; release(): Promise<void> }> {
  const source = decode(String(request.headers["x-amz-copy-source"])).replace(/^\//, "");
  const slash = source.indexOf("/");
  if (slash < 1 || slash === source.length - 1)
    refuse("InvalidArgument", "Copy Source must mention the source bucket and key: sourcebucket/sourcekey");
  const key = source.slice(slash + 1);
  checkKey(key);
  const found = await store.bucket(source.slice(0, slash)).open(key);
  if (!found) return refuse("NoSuchKey", "The specified key does not exist.", { Key: key });
  try {
    if (notModified(request.headers, found.meta, "x-amz-copy-source-"))
      refuse("PreconditionFailed", "At least one of the pre-conditions you specified did not hold", {
        Condition: "x-amz-copy-source-If-None-Match",
      });
  } catch (error) {
    await found.release();
    throw error;
  }
  return found;
}

export async function copyObject(exchange: Exchange): Promise<void> {
  const { request, target, store, now } = exchange;
  const bucket = store.bucket(target.bucket);
  const described = describedBy(request.headers);
  const replace = request.headers["x-amz-metadata-directive"] === "REPLACE";
  const wanted = request.headers["x-amz-checksum-algorithm"];
  if (typeof wanted === "string") parseChecksumName(wanted);
  const source = await openCopySource(exchange);
  try {
    const from = source.meta;
    allowWrite(request.headers, bucket.index.get(target.key));
    const blobs = [];
    for (const blob of from.blobs) blobs.push(await store.blobs.duplicate(blob));
    const meta: ObjectMeta = {
      key: target.key,
      size: from.size,
      etag: from.etag,
      modifiedMs: now(),
      blobs,
      ...(replace ? described : { headers: from.headers, user: from.user }),
      ...withChecksum(from.checksum),
    };
    await commitOrDiscard(exchange, meta);
    const { checksum } = meta;
    sendXml(exchange, "CopyObjectResult", {
      LastModified: isoDate(meta.modifiedMs),
      ETag: quoted(meta.etag),
      ...(checksum ? { [checksumElement(checksum.name)]: checksum.value, ChecksumType: checksum.type } : {}),
    });
  } finally {
    await source.release();
  }
}

export async function deleteObject(exchange: Exchange): Promise<void> {
  const { request, target, store } = exchange;
  const conditional = request.headers["if-match"] !== undefined;
  await store.bucket(target.bucket).remove(target.key, (current) => {
    if (conditional) allowWrite({ "if-match": request.headers["if-match"] }, current);
  });
  sendEmpty(exchange, 204);
}

export async function deleteObjects(exchange: Exchange): Promise<void> {
  const { target, store, request } = exchange;
  const bucket = store.bucket(target.bucket);
  const hasDigest = Object.keys(request.headers).some(
    (name) => name === "content-md5" || name.startsWith("x-amz-checksum-"),
  );
  const body = exchange.body();
  const text = await readText(body);
  if (!hasDigest && !body.checksum())
    refuse("InvalidRequest", "Missing required header for this request: Content-MD5 or x-amz-checksum");
  const root = parseXml(text);
  const objects = childrenNamed(root, "Object");
  if (root.name !== "Delete" || objects.length === 0 || objects.length > MAX_DELETES)
    refuse("MalformedXML", `A Delete document names 1 to ${MAX_DELETES} objects.`);
  const quiet = childText(root, "Quiet")?.trim() === "true";
  const Deleted: XmlFields[] = [];
  const failed: XmlFields[] = [];
  const removeOne = async (object: XmlNode): Promise<void> => {
    const Key = childText(object, "Key") ?? refuse("MalformedXML", "An Object without a Key.");
    try {
      checkKey(Key);
      const etag = childText(object, "ETag");
      await bucket.remove(Key, (current) => {
        if (etag !== undefined) allowWrite({ "if-match": etag }, current);
      });
      if (!quiet) Deleted.push({ Key });
    } catch (error) {
      if (!(error instanceof S3Error)) throw error;
      failed.push({ Key, Code: error.code, Message: error.message });
    }
  };
  // Together, so that they share the fsync of their directory.
  for (let i = 0; i < objects.length; i += DELETES_AT_ONCE)
    await Promise.all(objects.slice(i, i + DELETES_AT_ONCE).map(removeOne));
  sendXml(exchange, "DeleteResult", { Deleted, Error: failed });
}
