/** ListParts and ListMultipartUploads. */
import { checksumElement } from "./checksum.ts";
import { type Exchange, isoDate, quoted, sendXml } from "./exchange.ts";
import { maxKeysOf, nameCoder } from "./list-objects.ts";
import { compareKeys } from "./sorted-keys.ts";

const OWNER = { ID: "fabric", DisplayName: "fabric" };

export async function listParts(exchange: Exchange): Promise<void> {
  const { target, store } = exchange;
  store.bucket(target.bucket);
  const upload = store.uploads.find(target.query.get("uploadId") ?? "", target.bucket, target.key);
  const marker = Number(target.query.get("part-number-marker") ?? 0) || 0;
  const max = maxKeysOf(target.query, "max-parts");
  const parts = [...upload.parts.values()].sort((a, b) => a.number - b.number).filter((part) => part.number > marker);
  const page = parts.slice(0, max);
  sendXml(exchange, "ListPartsResult", {
    Bucket: target.bucket,
    Key: nameCoder(target.query)(target.key),
    UploadId: upload.id,
    Initiator: OWNER,
    Owner: OWNER,
    StorageClass: "STANDARD",
    PartNumberMarker: marker,
    NextPartNumberMarker: page.at(-1)?.number ?? marker,
    MaxParts: max,
    IsTruncated: parts.length > page.length,
    ...(upload.checksum
      ? { ChecksumAlgorithm: upload.checksum.name.toUpperCase(), ChecksumType: upload.checksum.type }
      : {}),
    Part: page.map((part) => ({
      PartNumber: part.number,
      LastModified: isoDate(part.modifiedMs),
      ETag: quoted(part.etag),
      Size: part.blob.size,
      ...(part.checksum ? { [checksumElement(part.checksum.name)]: part.checksum.value } : {}),
    })),
  });
}

export async function listUploads(exchange: Exchange): Promise<void> {
  const { target, store } = exchange;
  const { query } = target;
  store.bucket(target.bucket);
  const name = nameCoder(query);
  const prefix = query.get("prefix") ?? "";
  const delimiter = query.get("delimiter") ?? "";
  const keyMarker = query.get("key-marker") ?? "";
  const idMarker = query.get("upload-id-marker") ?? "";
  const max = maxKeysOf(query, "max-uploads");
  const prefixes = new Set<string>();
  const uploads = store.uploads
    .inBucket(target.bucket)
    .filter((upload) => upload.key.startsWith(prefix))
    .sort((a, b) => compareKeys(a.key, b.key) || (a.id < b.id ? -1 : 1))
    .filter(({ key, id }) => {
      const order = compareKeys(key, keyMarker);
      return keyMarker === "" || order > 0 || (order === 0 && idMarker !== "" && id > idMarker);
    })
    .filter(({ key }) => {
      const cut = delimiter === "" ? -1 : key.indexOf(delimiter, prefix.length);
      if (cut >= 0) prefixes.add(key.slice(0, cut + delimiter.length));
      return cut < 0;
    });
  const page = uploads.slice(0, max);
  const truncated = uploads.length > page.length;
  sendXml(exchange, "ListMultipartUploadsResult", {
    Bucket: target.bucket,
    KeyMarker: name(keyMarker),
    UploadIdMarker: idMarker,
    NextKeyMarker: truncated ? name(page.at(-1)?.key ?? "") : undefined,
    NextUploadIdMarker: truncated ? page.at(-1)?.id : undefined,
    Prefix: name(prefix),
    Delimiter: delimiter === "" ? undefined : name(delimiter),
    EncodingType: query.get("encoding-type"),
    MaxUploads: max,
    IsTruncated: truncated,
    Upload: page.map((upload) => ({
      Key: name(upload.key),
      UploadId: upload.id,
      Initiator: OWNER,
      Owner: OWNER,
      StorageClass: "STANDARD",
      Initiated: isoDate(upload.createdMs),
    })),
    CommonPrefixes: [...prefixes].map((one) => ({ Prefix: name(one) })),
  });
}
