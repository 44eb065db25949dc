/** A client of an S3 endpoint that gives up in time. */
import { S3Client, type S3ClientConfig } from "@aws-sdk/client-s3";

export interface S3Options {
  endpoint: string;
  /** Where clients outside reach the same store: the host in presigned URLs. */
  publicEndpoint?: string;
  region: string;
  bucket: string;
  accessKeyId: string;
  secretAccessKey: string;
  /** Time a request may take until its reply begins; a part of an upload counts as one request. */
  requestTimeoutMs?: number;
  /** What is larger is copied inside the store as parts; smaller ones for tests. */
  mostCopiedBytes?: number;
  copyPartBytes?: number;
}

export function connectS3(options: S3Options, endpoint: string, more: S3ClientConfig = {}): S3Client {
  return new S3Client({
    endpoint,
    region: options.region,
    forcePathStyle: true,
    maxAttempts: 3,
    ...more,
    credentials: { accessKeyId: options.accessKeyId, secretAccessKey: options.secretAccessKey },
    // Without the flag an exceeded requestTimeout only prints a warning.
    requestHandler: {
      connectionTimeout: 3_000,
      requestTimeout: options.requestTimeoutMs ?? 10_000,
      throwOnRequestTimeout: true,
      socketTimeout: 120_000,
    },
  });
}
