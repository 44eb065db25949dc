/** The verbs on buckets themselves. */
import { readText } from "./body.ts";
import { refuse } from "./errors.ts";
import { type Exchange, isoDate, sendEmpty, sendXml } from "./exchange.ts";
import { checkBucketName } from "./target.ts";
import { parseXml } from "./xml.ts";

export async function listBuckets(exchange: Exchange): Promise<void> {
  sendXml(exchange, "ListAllMyBucketsResult", {
    Owner: { ID: "fabric", DisplayName: "fabric" },
    Buckets: {
      Bucket: exchange.store.buckets().map(({ name, createdMs }) => ({ Name: name, CreationDate: isoDate(createdMs) })),
    },
  });
}

export async function createBucket(exchange: Exchange): Promise<void> {
  const { target, store, now } = exchange;
  checkBucketName(target.bucket);
  const text = await readText(exchange.body());
  // There is one place here, so a location constraint is accepted and means nothing.
  if (text.trim() !== "" && parseXml(text).name !== "CreateBucketConfiguration")
    refuse("MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema");
  if (!(await store.createBucket(target.bucket, now())))
    refuse(
      "BucketAlreadyOwnedByYou",
      "Your previous request to create the named bucket succeeded and you already own it.",
      { BucketName: target.bucket },
    );
  sendEmpty(exchange, 200, { location: `/${target.bucket}` });
}

export async function headBucket(exchange: Exchange): Promise<void> {
  exchange.store.bucket(exchange.target.bucket);
  sendEmpty(exchange, 200, { "x-amz-bucket-region": exchange.region });
}

export async function deleteBucket(exchange: Exchange): Promise<void> {
  await exchange.store.deleteBucket(exchange.target.bucket);
  sendEmpty(exchange, 204);
}

export async function bucketLocation(exchange: Exchange): Promise<void> {
  exchange.store.bucket(exchange.target.bucket);
  // S3's oldest region is written as an empty element.
  const { region } = exchange;
  const text = `<?xml version="1.0" encoding="UTF-8"?>\n<LocationConstraint xmlns="http://s3.amazonaws.com/doc/2006-03-01/">${region === "us-east-1" ? "" : region}</LocationConstraint>`;
  exchange.response.writeHead(200, { "content-type": "application/xml", "content-length": Buffer.byteLength(text) });
  exchange.response.end(text);
}

/** Buckets are never versioned; clients that ask are told so. */
export async function bucketVersioning(exchange: Exchange): Promise<void> {
  exchange.store.bucket(exchange.target.bucket);
  sendXml(exchange, "VersioningConfiguration", {});
}
