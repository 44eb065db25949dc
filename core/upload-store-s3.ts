/** The upload store on any S3 endpoint: presigned PUTs, of whole objects or of parts. */
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  PutObjectCommand,
  type S3Client,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";
import { FabricError, fail } from "./errors.ts";
import { connectS3, type S3Options } from "./s3-client.ts";
import type { UploadStore } from "./upload-store.ts";

/** What the store answers when the parts named are not those it has. */
const INCOMPLETE = ["InvalidPart", "InvalidPartOrder", "NoSuchUpload", "EntityTooSmall"];

export function s3UploadStore(options: S3Options): UploadStore {
  const Bucket = options.bucket;
  const client = connectS3(options, options.endpoint);
  const outside = connectS3(options, options.publicEndpoint || options.endpoint, {
    // A presigned PUT would carry the checksum of no body otherwise.
    requestChecksumCalculation: "WHEN_REQUIRED",
  });

  async function attempt<T>(what: string, request: () => Promise<T>): Promise<T> {
    try {
      return await request();
    } catch (cause) {
      if (cause instanceof FabricError) throw cause;
      const { name, message } = cause as Error;
      return fail("storage_unavailable", `S3 at ${options.endpoint}: ${what}: ${name}: ${message}`, undefined, {
        cause,
      });
    }
  }

  /** The length is signed, so that nothing larger can be sent. */
  const sign = (command: PutObjectCommand | UploadPartCommand, expiresIn: number): Promise<string> =>
    attempt("presign", () =>
      getSignedUrl(outside, command as PutObjectCommand, {
        expiresIn,
        signableHeaders: new Set(["host", "content-length"]),
      }),
    );

  return {
    presignPut: (Key, ContentLength, expires) => sign(new PutObjectCommand({ Bucket, Key, ContentLength }), expires),
    startParts: (Key) =>
      attempt(`begin ${Key}`, async () => {
        const { UploadId } = await client.send(new CreateMultipartUploadCommand({ Bucket, Key }));
        return UploadId!;
      }),
    presignPart: (Key, UploadId, { number, size }, expires) =>
      sign(new UploadPartCommand({ Bucket, Key, UploadId, PartNumber: number, ContentLength: size }), expires),
    finishParts: (Key, UploadId, parts) =>
      attempt(`finish ${Key}`, async () => {
        const Parts = parts.map(({ number, etag }) => ({ PartNumber: number, ETag: etag }));
        try {
          await client.send(new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload: { Parts } }));
        } catch (error) {
          if (!INCOMPLETE.includes((error as Error).name)) throw error;
          if ((error as Error).name === "NoSuchUpload" && (await isThere(client, Bucket, Key))) return;
          fail("upload_incomplete", `the store does not have these parts: ${(error as Error).message}`);
        }
      }),
    dropParts: (Prefix, beforeMs) =>
      attempt("drop uploads", async () => {
        const { Uploads = [] } = await client.send(new ListMultipartUploadsCommand({ Bucket, Prefix }));
        const old = Uploads.filter(({ Initiated }) => (Initiated?.getTime() ?? beforeMs) < beforeMs);
        for (const { Key, UploadId } of old)
          await client.send(new AbortMultipartUploadCommand({ Bucket, Key, UploadId }));
        return old.length;
      }),
    close() {
      client.destroy();
      outside.destroy();
    },
  };
}

async function isThere(client: S3Client, Bucket: string, Key: string): Promise<boolean> {
  try {
    await client.send(new HeadObjectCommand({ Bucket, Key }));
    return true;
  } catch (error) {
    if ((error as { $metadata?: { httpStatusCode?: number } }).$metadata?.httpStatusCode === 404) return false;
    throw error;
  }
}
