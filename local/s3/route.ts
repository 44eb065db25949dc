/** Which handler answers a request: S3 tells its verbs apart by method, by what is named and by query parameters. */
import {
  bucketLocation,
  bucketVersioning,
  createBucket,
  deleteBucket,
  headBucket,
  listBuckets,
} from "./bucket-verbs.ts";
import { refuse } from "./errors.ts";
import { type Exchange, type Handler, sendXml } from "./exchange.ts";
import { listObjects } from "./list-objects.ts";
import { listParts, listUploads } from "./list-uploads.ts";
import { abortUpload, completeUpload, createUpload, uploadPart, uploadPartCopy } from "./multipart.ts";
import { readObject } from "./read-object.ts";
import { copyObject, deleteObject, deleteObjects, putObject } from "./write-object.ts";

/** Parts of S3 that are not here: answering as if the parameter were absent would do something else than was asked. */
const NOT_HERE = [
  "accelerate",
  "acl",
  "analytics",
  "attributes",
  "cors",
  "encryption",
  "intelligent-tiering",
  "inventory",
  "legal-hold",
  "lifecycle",
  "logging",
  "metrics",
  "notification",
  "object-lock",
  "ownershipControls",
  "policy",
  "policyStatus",
  "publicAccessBlock",
  "renameObject",
  "replication",
  "requestPayment",
  "restore",
  "retention",
  "select",
  "session",
  "torrent",
  "versionId",
  "versions",
  "website",
];

export function route({ request, target }: Pick<Exchange, "request" | "target">): Handler {
  const { query } = target;
  const method = request.method ?? "";
  for (const name of NOT_HERE)
    if (query.has(name))
      refuse("NotImplemented", `A parameter you provided implies functionality that is not implemented: ${name}`);
  const found =
    target.bucket === ""
      ? ofService(method, target.key)
      : target.key === ""
        ? ofBucket(method, query)
        : ofObject(method, query, request.headers);
  return (
    found ??
    refuse("MethodNotAllowed", "The specified method is not allowed against this resource.", { Method: method })
  );
}

function ofService(method: string, key: string): Handler | undefined {
  if (key !== "") refuse("InvalidBucketName", "The specified bucket is not valid.");
  return method === "GET" ? listBuckets : undefined;
}

function ofBucket(method: string, query: Map<string, string>): Handler | undefined {
  if (query.has("tagging")) refuse("NotImplemented", "Tags are not implemented.");
  switch (method) {
    case "GET":
      if (query.has("location")) return bucketLocation;
      if (query.has("versioning")) return bucketVersioning;
      return query.has("uploads") ? listUploads : listObjects;
    case "HEAD":
      return headBucket;
    case "PUT":
      return query.has("versioning") ? refuse("NotImplemented", "Versioning is not implemented.") : createBucket;
    case "DELETE":
      return deleteBucket;
    case "POST":
      return query.has("delete") ? deleteObjects : undefined;
    default:
      return undefined;
  }
}

function ofObject(
  method: string,
  query: Map<string, string>,
  headers: Exchange["request"]["headers"],
): Handler | undefined {
  if (query.has("tagging")) return method === "GET" ? noTags : refuse("NotImplemented", "Tags are not implemented.");
  const copy = headers["x-amz-copy-source"] !== undefined;
  switch (method) {
    case "GET":
      return query.has("uploadId") ? listParts : readObject;
    case "HEAD":
      return readObject;
    case "PUT":
      if (query.has("uploadId") || query.has("partNumber")) return copy ? uploadPartCopy : uploadPart;
      return copy ? copyObject : putObject;
    case "DELETE":
      return query.has("uploadId") ? abortUpload : deleteObject;
    case "POST":
      return query.has("uploads") ? createUpload : query.has("uploadId") ? completeUpload : undefined;
    default:
      return undefined;
  }
}

/** aws-cli asks before it copies large objects. */
async function noTags(exchange: Exchange): Promise<void> {
  const { store, target } = exchange;
  if (!store.bucket(target.bucket).index.get(target.key))
    refuse("NoSuchKey", "The specified key does not exist.", { Key: target.key });
  sendXml(exchange, "Tagging", { TagSet: {} });
}
