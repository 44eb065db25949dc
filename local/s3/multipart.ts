/** Multipart uploads: parts in any order, put together by naming them, so that completing costs no copy. */
import { createHash } from "node:crypto";
import type { BlobRef } from "./blobs.ts";
import { readText } from "./body.ts";
import type { ObjectMeta } from "./bucket.ts";
import {
  CHECKSUMS,
  type Checksum,
  checkForm,
  checksumElement,
  checksumHeader,
  checksumType,
  joinChecksums,
  parseChecksumName,
} from "./checksum.ts";
import { allowWrite } from "./conditions.ts";
import { refuse, S3Error } from "./errors.ts";
import { type Exchange, isoDate, quoted, sendEmpty, sendXml } from "./exchange.ts";
import { describedBy } from "./metadata.ts";
import { parseRange } from "./range.ts";
import type { Part, Upload } from "./uploads.ts";
import { checksumHeaders, MAX_PUT_BYTES, openCopySource } from "./write-object.ts";
import { childrenNamed, childText, parseXml, type XmlNode } from "./xml.ts";

const MAX_PARTS = 10_000;
const MIN_PART_BYTES = 5 * 1024 * 1024;

export async function createUpload(exchange: Exchange): Promise<void> {
  const { request, target, store, now } = exchange;
  const { headers } = request;
  store.bucket(target.bucket);
  const algorithm = headers["x-amz-checksum-algorithm"];
  const name = typeof algorithm === "string" ? parseChecksumName(algorithm) : undefined;
  const type = name && checksumType(name, headers["x-amz-checksum-type"] as string | undefined);
  const upload = await store.uploads.create({
    bucket: target.bucket,
    key: target.key,
    createdMs: now(),
    ...describedBy(headers),
    ...(name && type ? { checksum: { name, type } } : {}),
  });
  sendXml(
    exchange,
    "InitiateMultipartUploadResult",
    { Bucket: target.bucket, Key: target.key, UploadId: upload.id },
    name && type ? { "x-amz-checksum-algorithm": name.toUpperCase(), "x-amz-checksum-type": type } : {},
  );
}

function uploadOf({ target, store }: Exchange): Upload {
  store.bucket(target.bucket);
  return store.uploads.find(target.query.get("uploadId") ?? "", target.bucket, target.key);
}

function partNumberOf({ target: { query } }: Exchange): number {
  const number = Number(query.get("partNumber"));
  if (!Number.isInteger(number) || number < 1 || number > MAX_PARTS)
    refuse("InvalidArgument", `Part number must be an integer between 1 and ${MAX_PARTS}, inclusive`);
  return number;
}

export async function uploadPart(exchange: Exchange): Promise<void> {
  const upload = uploadOf(exchange);
  const number = partNumberOf(exchange);
  const body = exchange.body(upload.checksum?.name);
  if (body.size > MAX_PUT_BYTES) refuse("EntityTooLarge", "Your proposed upload exceeds the maximum allowed size");
  const blob = await exchange.store.blobs.write(body.stream);
  const part = { number, blob, etag: body.md5(), modifiedMs: exchange.now(), checksum: body.checksum() };
  await addPart(exchange, upload, part);
  sendEmpty(exchange, 200, { etag: quoted(part.etag), ...checksumHeaders(part) });
}

/** UploadPartCopy: the bytes are read once more, because a part needs its own digests. */
export async function uploadPartCopy(exchange: Exchange): Promise<void> {
  const upload = uploadOf(exchange);
  const number = partNumberOf(exchange);
  const source = await openCopySource(exchange);
  try {
    const header = exchange.request.headers["x-amz-copy-source-range"];
    const range = parseRange(header as string | undefined, source.meta.size) ?? { start: 0, end: source.meta.size - 1 };
    const md5 = createHash("md5");
    async function* bytes() {
      for await (const chunk of exchange.store.blobs.read(source.meta.blobs, range)) {
        md5.update(chunk);
        yield chunk;
      }
    }
    const blob = await exchange.store.blobs.write(bytes());
    const part = { number, blob, etag: md5.digest("hex"), modifiedMs: exchange.now() };
    await addPart(exchange, upload, part);
    sendXml(exchange, "CopyPartResult", { LastModified: isoDate(part.modifiedMs), ETag: quoted(part.etag) });
  } finally {
    await source.release();
  }
}

async function addPart({ store }: Exchange, upload: Upload, part: Part): Promise<void> {
  try {
    await store.uploads.addPart(upload, part);
  } catch (error) {
    await store.blobs.discard([part.blob]);
    throw error;
  }
}

export async function completeUpload(exchange: Exchange): Promise<void> {
  const { request, target, store, now } = exchange;
  const bucket = store.bucket(target.bucket);
  const document = parseXml(await readText(exchange.body()));
  let upload: Upload;
  try {
    upload = uploadOf(exchange);
  } catch (error) {
    const done = await completedBefore(exchange);
    if (done && error instanceof S3Error && error.code === "NoSuchUpload") return sendCompleted(exchange, done);
    throw error;
  }
  let meta: ObjectMeta | undefined;
  await store.uploads.finish(upload, async (): Promise<BlobRef[]> => {
    const parts = chosenParts(document, upload);
    meta = joined(upload, parts, now());
    const claimed = claimedWhole(exchange, meta);
    if (claimed !== undefined && claimed !== meta.checksum?.value)
      refuse("BadDigest", "The checksum you specified did not match the object's.");
    await bucket.commit(meta, (current) => allowWrite(request.headers, current));
    return meta.blobs;
  });
  sendCompleted(exchange, meta!);
}

/** A client that lost our reply asks again: the object that its upload became is the answer. */
async function completedBefore({ store, target }: Exchange): Promise<ObjectMeta | undefined> {
  const found = await store.bucket(target.bucket).open(target.key);
  await found?.release();
  return found?.meta.uploadId === target.query.get("uploadId") ? found?.meta : undefined;
}

function sendCompleted(exchange: Exchange, meta: ObjectMeta): void {
  const { request, target } = exchange;
  sendXml(exchange, "CompleteMultipartUploadResult", {
    Location: `http://${request.headers.host}${target.canonicalPath}`,
    Bucket: target.bucket,
    Key: target.key,
    ETag: quoted(meta.etag),
    ...(meta.checksum
      ? { [checksumElement(meta.checksum.name)]: meta.checksum.value, ChecksumType: meta.checksum.type }
      : {}),
  });
}

function chosenParts(document: XmlNode, upload: Upload): Part[] {
  const named = childrenNamed(document, "Part");
  if (document.name !== "CompleteMultipartUpload" || named.length === 0)
    refuse("MalformedXML", "The XML names no parts.");
  let last = 0;
  return named.map((node, i) => {
    const number = Number(childText(node, "PartNumber"));
    if (!(number > last))
      refuse("InvalidPartOrder", "The list of parts was not in ascending order. Parts must be ordered by part number.");
    last = number;
    const part = upload.parts.get(number);
    const etag = childText(node, "ETag")?.trim().replaceAll('"', "");
    if (!part || part.etag !== etag || !sameChecksum(node, part))
      return refuse(
        "InvalidPart",
        "One or more of the specified parts could not be found, or its ETag or checksum did not match.",
        { PartNumber: String(number) },
      );
    if (i < named.length - 1 && part.blob.size < MIN_PART_BYTES)
      refuse("EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size", {
        PartNumber: String(number),
        ProposedSize: String(part.blob.size),
        MinSizeAllowed: String(MIN_PART_BYTES),
      });
    return part;
  });
}

function sameChecksum(node: XmlNode, part: Part): boolean {
  return CHECKSUMS.every((name) => {
    const claimed = childText(node, checksumElement(name))?.trim();
    return claimed === undefined || part.checksum?.name !== name || part.checksum.value === claimed;
  });
}

function joined(upload: Upload, parts: Part[], modifiedMs: number): ObjectMeta {
  const md5 = createHash("md5");
  for (const part of parts) md5.update(part.etag, "hex");
  return {
    key: upload.key,
    size: parts.reduce((sum, part) => sum + part.blob.size, 0),
    etag: `${md5.digest("hex")}-${parts.length}`,
    modifiedMs,
    blobs: parts.map((part) => part.blob),
    headers: upload.headers,
    user: upload.user,
    uploadId: upload.id,
    ...wholeChecksum(upload, parts),
  };
}

/** None where a part lacks its own, as copied parts do. */
function wholeChecksum({ checksum }: Upload, parts: Part[]): { checksum?: Checksum } {
  if (!checksum) return {};
  const known = parts.flatMap((part) =>
    part.checksum?.name === checksum.name ? [{ value: part.checksum.value, size: part.blob.size }] : [],
  );
  return known.length === parts.length ? { checksum: joinChecksums(checksum.name, checksum.type, known) } : {};
}

/** x-amz-checksum-* of a completion speaks of the object, not of the XML in its body. */
function claimedWhole({ request }: Exchange, { checksum }: ObjectMeta): string | undefined {
  if (checksum?.type !== "FULL_OBJECT") return undefined;
  const value = request.headers[checksumHeader(checksum.name)];
  return typeof value === "string" ? checkForm(checksum.name, value) : undefined;
}

export async function abortUpload(exchange: Exchange): Promise<void> {
  await exchange.store.uploads.finish(uploadOf(exchange), async () => []);
  sendEmpty(exchange, 204);
}
